// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/block_sweep.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "io/threads.h"
#include "io/transfer.h"
#include "persistent-data/disk_format.h"

namespace extmerge {
namespace {

constexpr size_t kBatchBlocks = 256;
constexpr size_t kSweepBatchBytes =
    kBatchBlocks * kMetadataBlockSize;  // and so the largest request
constexpr unsigned kQueueDepth = 64;
// From this many blocks on, a queue is worth the cost of destroying it.
constexpr size_t kManyBlocks = 8192;
constexpr size_t kFewRequests = 4;  // of one batch: its blocks are mostly neighbours

}  // namespace

void add_block_read(std::vector<IoRequest>& requests, MetadataBlock block,
                    std::span<std::byte> memory) {
  const Bytes offset(block.value() * kMetadataBlockSize);
  if (!requests.empty()) {
    IoRequest& last = requests.back();
    const size_t length = last.memory.size();
    if (last.offset + Bytes(length) == offset && last.memory.data() + length == memory.data()) {
      last.memory = {last.memory.data(), length + memory.size()};
      return;
    }
  }
  requests.push_back({Direction::kRead, offset, memory});
}

// The batches that the workers of one sweep share.
class BlockSweep::Batches {
 public:
  explicit Batches(std::span<const MetadataBlock> blocks) : blocks_(blocks), order_(blocks.size()) {
    std::iota(order_.begin(), order_.end(), 0u);
    std::sort(order_.begin(), order_.end(),
              [&](uint32_t a, uint32_t b) { return blocks[a] < blocks[b]; });
  }

  size_t count() const { return (order_.size() + kBatchBlocks - 1) / kBatchBlocks; }
  bool has_many_blocks() const { return order_.size() >= kManyBlocks; }

  // The next batch's number. At the end, or after a failure, it is count() or more.
  size_t take() { return next_.fetch_add(1); }
  // The places in blocks() of a batch's blocks, in order of place on the device.
  std::span<const uint32_t> of(size_t batch) const {
    const size_t first = batch * kBatchBlocks;
    return std::span(order_).subspan(first, std::min(kBatchBlocks, order_.size() - first));
  }
  MetadataBlock block(uint32_t index) const { return blocks_[index]; }

  void failed(size_t batch, std::exception_ptr failure) {
    next_ = count();
    const std::lock_guard guard(lock_);
    if (batch >= failed_batch_) return;
    failed_batch_ = batch;
    failure_ = std::move(failure);
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const std::span<const MetadataBlock> blocks_;
  std::vector<uint32_t> order_;
  std::atomic<size_t> next_{0};
  std::mutex lock_;
  size_t failed_batch_ = SIZE_MAX;
  std::exception_ptr failure_;
};

struct BlockSweep::Worker {
  unsigned number;
  BlockDevice& device;
  std::span<std::byte> memory;
  std::unique_ptr<AsyncQueue> one_by_one;
  std::unique_ptr<AsyncQueue> deep;
  std::vector<IoRequest> requests;

  void work(Batches& batches, const Visit& visit) {
    for (size_t batch = batches.take(); batch < batches.count(); batch = batches.take()) {
      try {
        read(batches, batch);
        size_t at = 0;
        for (const uint32_t index : batches.of(batch)) {
          visit(number, index, memory.subspan(at, kMetadataBlockSize));
          at += kMetadataBlockSize;
        }
      } catch (...) {
        batches.failed(batch, std::current_exception());
      }
    }
  }

  void read(const Batches& batches, size_t batch) {
    requests.clear();
    size_t used = 0;
    for (const uint32_t index : batches.of(batch)) {
      add_block_read(requests, batches.block(index), memory.subspan(used, kMetadataBlockSize));
      used += kMetadataBlockSize;
    }
    const bool in_depth = batches.has_many_blocks() && requests.size() > kFewRequests;
    std::unique_ptr<AsyncQueue>& queue = in_depth ? deep : one_by_one;
    if (!queue) queue = device.make_queue(in_depth ? kQueueDepth : 1);
    if (const auto failure = transfer(device, *queue, requests)) throw io_error(device, *failure);
  }
};

void BlockSweep::run(std::span<const MetadataBlock> blocks, const Visit& visit) {
  Batches batches(blocks);
  if (memory_.size() == 0) memory_ = Buffer(kWorkers * kSweepBatchBytes);
  const auto work = [&](unsigned number) {
    Worker worker{
        number,  device_, memory_.span().subspan(number * kSweepBatchBytes, kSweepBatchBytes),
        nullptr, nullptr, {}};
    worker.work(batches, visit);
  };
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < std::min<size_t>(kWorkers, batches.count()); ++i) {
      others.push_back(start_thread<std::jthread>(work, i));
    }
    work(0);
  }
  batches.rethrow();
}

}  // namespace extmerge
