// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/content_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "merge/plan/run.h"

namespace extmerge {

namespace {

class ContentQueue final : public AsyncQueue {
 public:
  ContentQueue(std::unique_ptr<AsyncQueue> data, std::unique_ptr<AsyncQueue> origin,
               Bytes origin_end)
      : data_(std::move(data)), origin_(std::move(origin)), origin_end_(origin_end) {}

  // Neighbours of pool data stay together.
  void submit(std::span<IoRequest> requests) override {
    size_t first = 0;
    for (size_t i = 0; i <= requests.size(); ++i) {
      const bool is_data = i < requests.size() && requests[i].offset < kUnmappedAt;
      if (is_data) continue;
      if (first < i) data_->submit(requests.subspan(first, i - first));
      if (i < requests.size()) read_unmapped(requests[i]);
      first = i + 1;
    }
  }

  void wait() override {
    data_->wait();
    if (origin_) origin_->wait();
    for (const auto& [read, request] : reads_) {
      const bool is_whole = read.result == static_cast<int64_t>(read.memory.size());
      request->result = is_whole ? static_cast<int64_t>(request->memory.size()) : read.result;
    }
    reads_.clear();
  }

 private:
  struct OriginRead {
    IoRequest read;
    IoRequest* request = nullptr;
  };

  void read_unmapped(IoRequest& request) {
    if (request.direction != Direction::kRead) {
      request.result = -EROFS;
      return;
    }
    if (!origin_ && request.offset < kZerosAt) {
      request.result = -ENODEV;
      return;
    }
    const size_t length = request.memory.size();
    size_t of_origin = 0;
    if (request.offset < kZerosAt && request.offset - kUnmappedAt < origin_end_) {
      const Bytes left = origin_end_ - (request.offset - kUnmappedAt);
      of_origin = static_cast<size_t>(std::min<uint64_t>(length, left.value()));
    }
    std::memset(request.memory.data() + of_origin, 0, length - of_origin);
    request.result = static_cast<int64_t>(length);
    if (of_origin == 0) return;
    reads_.push_back(
        {{Direction::kRead, request.offset - kUnmappedAt, request.memory.first(of_origin)},
         &request});
    origin_->submit({&reads_.back().read, 1});
  }

  // Declared before the queues, whose destructors wait for transfers in flight.
  std::deque<OriginRead> reads_;
  const std::unique_ptr<AsyncQueue> data_;
  const std::unique_ptr<AsyncQueue> origin_;
  const Bytes origin_end_;
};

class ContentDevice final : public BlockDevice {
 public:
  ContentDevice(std::shared_ptr<BlockDevice> data, std::shared_ptr<BlockDevice> origin)
      : data_(std::move(data)), origin_(std::move(origin)) {}

  const std::string& name() const override { return data_->name(); }
  Bytes size() const override { return data_->size(); }
  std::pair<const BlockDevice*, Bytes> holder_of(Bytes offset) const override {
    if (offset < kUnmappedAt || !origin_) return {data_.get(), offset};
    return {origin_.get(), offset - (offset < kZerosAt ? kUnmappedAt : kZerosAt)};
  }
  Bytes logical_block_size() const override {
    const Bytes of_data = data_->logical_block_size();
    return origin_ ? std::max(of_data, origin_->logical_block_size()) : of_data;
  }

  std::unique_ptr<AsyncQueue> make_queue(unsigned depth) override {
    return std::make_unique<ContentQueue>(data_->make_queue(depth),
                                          origin_ ? origin_->make_queue(depth) : nullptr,
                                          origin_ ? origin_->size() : Bytes(0));
  }
  std::unique_ptr<AsyncQueue> make_short_queue() override {
    return std::make_unique<ContentQueue>(data_->make_short_queue(),
                                          origin_ ? origin_->make_short_queue() : nullptr,
                                          origin_ ? origin_->size() : Bytes(0));
  }

  int flush() override { return EROFS; }
  void resize(Bytes) override {
    throw Error(MessageId::kInternal, "cannot resize " + name(), "please report this");
  }
  void drop_cache() override {}

 private:
  const std::shared_ptr<BlockDevice> data_;
  const std::shared_ptr<BlockDevice> origin_;
};

}  // namespace

std::unique_ptr<BlockDevice> make_content_device(std::shared_ptr<BlockDevice> data,
                                                 std::shared_ptr<BlockDevice> origin) {
  return std::make_unique<ContentDevice>(std::move(data), std::move(origin));
}

}  // namespace extmerge
