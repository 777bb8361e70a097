// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/support/memory_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace extmerge {

class MemoryDevice::Queue : public AsyncQueue {
 public:
  explicit Queue(MemoryDevice& device) : device_(device) {}

  void submit(std::span<IoRequest> requests) override {
    for (IoRequest& request : requests) pending_.push_back(&request);
    const std::lock_guard guard(device_.lock_);
    device_.in_flight_ += requests.size();
  }

  void wait() override {
    const std::lock_guard guard(device_.lock_);
    for (IoRequest* request : pending_) device_.carry_out(*request);
    device_.in_flight_ -= pending_.size();
    pending_.clear();
  }

 private:
  MemoryDevice& device_;
  std::vector<IoRequest*> pending_;
};

MemoryDevice::MemoryDevice(std::vector<std::byte> contents, std::string name,
                           Bytes logical_block_size)
    : contents_(std::move(contents)),
      name_(std::move(name)),
      logical_block_size_(logical_block_size) {}

std::unique_ptr<AsyncQueue> MemoryDevice::make_queue(unsigned) {
  const std::lock_guard guard(lock_);
  ++queues_made_;
  return std::make_unique<Queue>(*this);
}

int MemoryDevice::flush() {
  ++flushes_;
  return 0;
}

void MemoryDevice::carry_out(IoRequest& request) {
  const bool is_read = request.direction == Direction::kRead;
  ++(is_read ? reads_ : writes_);
  request.result = 0;
  if (on_request_) on_request_(request);
  if (request.result != 0) return;

  const uint64_t offset = request.offset.value();
  const uint64_t alignment = logical_block_size_.value();
  if (offset % alignment != 0 || request.memory.size() % alignment != 0) {
    request.result = -EINVAL;
    return;
  }
  if (offset >= contents_.size()) {
    request.result = is_read ? 0 : -ENOSPC;
    return;
  }
  // Across the end the kernel transfers only the part inside, in both directions.
  const size_t length = std::min(request.memory.size(), contents_.size() - offset);
  if (is_read) {
    std::memcpy(request.memory.data(), contents_.data() + offset, length);
    bytes_read_ += length;
  } else {
    std::memcpy(contents_.data() + offset, request.memory.data(), length);
  }
  request.result = static_cast<int64_t>(length);
}

}  // namespace extmerge
