// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/checkpoint.h"

#include "io/threads.h"
#include "io/transfer.h"

namespace extmerge {

Checkpoints::Checkpoints(const CopyJob& job, const PipelineOptions& options, CheckpointSink& sink,
                         Progress& progress, std::function<void()> on_failure)
    : origin_(job.origin),
      sink_(sink),
      progress_(progress),
      interval_bytes_(options.checkpoint_bytes),
      interval_time_(options.checkpoint_time),
      on_failure_(std::move(on_failure)),
      begun_position_(job.start.position),
      begun_time_(Clock::now()),
      thread_(start_thread<std::jthread>([this](const std::stop_token& stop) { serve(stop); })) {}

Checkpoints::~Checkpoints() = default;

void Checkpoints::reached(const JournalProgress& progress) {
  const Clock::time_point now = Clock::now();
  const bool due =
      progress.position - begun_position_ >= interval_bytes_ || now - begun_time_ >= interval_time_;
  if (!due) return;
  const std::lock_guard guard(lock_);
  if (wanted_ || failure_) return;  // one at a time; the next one is due when it has ended
  wanted_ = progress;
  begun_position_ = progress.position;
  begun_time_ = now;
  changed_.notify_all();
}

void Checkpoints::finish(const JournalProgress& progress) {
  std::unique_lock guard(lock_);
  changed_.wait(guard, [this] { return !wanted_; });
  if (!failure_ && recorded_ != progress.position) {
    wanted_ = progress;
    changed_.notify_all();
    changed_.wait(guard, [this] { return !wanted_; });
  }
  if (failure_) std::rethrow_exception(failure_);
}

void Checkpoints::serve(const std::stop_token& stop) {
  std::unique_lock guard(lock_);
  while (changed_.wait(guard, stop, [this] { return wanted_.has_value(); })) {
    const JournalProgress progress = *wanted_;
    guard.unlock();
    std::exception_ptr failure;
    try {
      carry_out(progress);
    } catch (...) {
      failure = std::current_exception();
      on_failure_();
    }
    guard.lock();
    if (failure) {
      failure_ = failure;
    } else {
      recorded_ = progress.position;
    }
    wanted_.reset();
    changed_.notify_all();
  }
}

void Checkpoints::carry_out(const JournalProgress& progress) {
  // Flush even if this run has written nothing: a killed run may have written the equal bytes
  // without a flush.
  flush_fully(origin_,
              "it may have lost the writes since the last checkpoint: look at the kernel log "
              "(dmesg), repair the device, and run the same command again; it continues at that "
              "checkpoint");
  sink_.record(progress);
  progress_.durable_bytes = progress.position.value();
}

}  // namespace extmerge
