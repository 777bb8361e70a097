// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/copy_up.h"

#include <algorithm>
#include <optional>

#include "io/buffer.h"
#include "io/transfer.h"
#include "merge/plan/key_stream.h"

namespace extmerge {

namespace {

constexpr uint64_t kMemory = 8 << 20;
constexpr uint64_t kLargestPiece = 1 << 20;
constexpr unsigned kDepth = 64;

Error stopped() {
  return Error(MessageId::kStopped, "stopped before the merge: nothing was written to the origin",
               "run the same command again; it continues with the other blocks of the siblings");
}

// One thin that gets blocks.
struct Receiver {
  Receiver(const CopyUpJob& job, const CopyUpThin& thin)
      : mapped(job.reader, thin.mapping_root, {.end_of_data = job.end_of_data}),
        device(*thin.device),
        queue(thin.device->make_queue(kDepth)) {}

  KeyStream mapped;
  BlockDevice& device;
  std::unique_ptr<AsyncQueue> queue;
  std::vector<IoRequest> requests;
};

class CopyUp {
 public:
  CopyUp(const CopyUpJob& job, const std::vector<CopyUpThin>& thins, Progress& progress)
      : job_(job),
        progress_(progress),
        block_(job.limits.block_size.bytes().value()),
        piece_(std::min(block_, kLargestPiece)),
        memory_(kMemory),
        queue_(job.origin.make_queue(kDepth)) {
    receivers_.reserve(thins.size());
    for (const CopyUpThin& thin : thins) receivers_.emplace_back(job, thin);
  }

  void add(ThinBlock block) {
    needed_by_.clear();
    for (Receiver& receiver : receivers_) {
      if (!receiver.mapped.find(block)) needed_by_.push_back(&receiver);
    }
    if (needed_by_.empty()) return;
    const Bytes start = job_.limits.block_size.offset(block);
    for (uint64_t done = 0; done < block_; done += piece_) {
      add_piece(start + Bytes(done), std::min(piece_, block_ - done));
    }
  }

  // Reads the batch from the origin, and writes it to all thins at once.
  void end_batch() {
    if (used_ == 0) return;
    if (job_.watch) job_.watch();
    if (const auto failed = transfer(job_.origin, *queue_, reads_)) {
      throw io_error(job_.origin, *failed);
    }
    for (Receiver& receiver : receivers_) receiver.queue->submit(receiver.requests);
    std::optional<Error> failure;
    for (Receiver& receiver : receivers_) {
      receiver.queue->wait();
      const auto failed = finish_transfer(receiver.device, *receiver.queue, receiver.requests);
      if (failed && !failure) failure = io_error(receiver.device, *failed);
      receiver.requests.clear();
    }
    if (failure) throw *failure;
    reads_.clear();
    used_ = 0;
  }

  void finish() {
    end_batch();
    for (const Receiver& receiver : receivers_) {
      flush_fully(receiver.device, "nothing was written to the origin: see the kernel's log");
    }
  }

 private:
  void add_piece(Bytes start, uint64_t length) {
    if (used_ + piece_ > kMemory) end_batch();
    const std::span<std::byte> memory = memory_.span().subspan(used_, length);
    const Bytes end = std::min(start + Bytes(length), job_.origin.size());
    const uint64_t held = end > start ? (end - start).value() : 0;
    std::fill(memory.begin() + static_cast<ptrdiff_t>(held), memory.end(), std::byte{0});
    if (held > 0) reads_.push_back({Direction::kRead, start, memory.first(held)});
    for (Receiver* const receiver : needed_by_) {
      if (receiver->device.size() <= start) continue;
      const uint64_t shown = std::min(length, (receiver->device.size() - start).value());
      receiver->requests.push_back({Direction::kWrite, start, memory.first(shown)});
      progress_.done_bytes += shown;
    }
    used_ += piece_;
  }

  const CopyUpJob& job_;
  Progress& progress_;
  const uint64_t block_;
  const uint64_t piece_;
  Buffer memory_;
  std::unique_ptr<AsyncQueue> queue_;
  std::vector<Receiver> receivers_;
  std::vector<Receiver*> needed_by_;
  std::vector<IoRequest> reads_;
  uint64_t used_ = 0;  // of the memory, by this batch
};

}  // namespace

void copy_up(const CopyUpJob& job, const std::vector<CopyUpThin>& thins, Progress& progress,
             const std::stop_token& stop) {
  CopyUp work(job, thins, progress);
  for (Run run; job.plan.next(run);) {
    for (uint64_t i = 0; i < run.blocks; ++i) {
      if (stop.stop_requested()) throw stopped();
      work.add(run.thin + i);
    }
  }
  work.finish();
}

}  // namespace extmerge
