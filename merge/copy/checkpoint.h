// SPDX-License-Identifier: GPL-3.0-or-later
//
// Makes the copy durable and says so, in this order and no other:
//
//   origin writes complete -> origin flushed, result checked -> record() -> journal synced
//
// Method: the stage that commits pieces in plan order tells a thread of its own
// how far everything is complete; when a checkpoint is due and none is under
// way, the thread flushes and records exactly that position. Reading and writing
// go on meanwhile: what completes after the flush began is left to the next one.
//
// A failed flush is final. What the device still holds of all that was written
// since the last good one is unknown, and a second flush may well succeed
// without it; so nothing is recorded any more and flush() is not called again.
// The same goes for a sink that threw.
//
// Threads: reached() and finish() from one at a time.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "merge/copy/copy_job.h"
#include "merge/plan/progress.h"

namespace extmerge {

class Checkpoints {
 public:
  // `on_failure` is called from the thread when a checkpoint has failed.
  Checkpoints(const CopyJob& job, const PipelineOptions& options, CheckpointSink& sink,
              Progress& progress, std::function<void()> on_failure);
  // Waits for the checkpoint under way.
  ~Checkpoints();
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;

  // Every planned byte below the position is on the origin, complete.
  void reached(const JournalProgress& progress);
  // The last one: returns when it is durable and recorded. Throws
  // Error(kFlushFailed), or what the sink threw, of this or an earlier checkpoint.
  void finish(const JournalProgress& progress);

 private:
  using Clock = std::chrono::steady_clock;

  void serve(const std::stop_token& stop);
  void carry_out(const JournalProgress& progress);

  BlockDevice& origin_;
  CheckpointSink& sink_;
  Progress& progress_;
  const Bytes interval_bytes_;
  const std::chrono::milliseconds interval_time_;
  const std::function<void()> on_failure_;

  Bytes begun_position_;  // of the latest checkpoint begun, or where the run began
  Clock::time_point begun_time_;

  std::mutex lock_;
  std::condition_variable_any changed_;
  std::optional<JournalProgress> wanted_;  // handed over and not finished yet
  std::optional<Bytes> recorded_;          // the last position recorded by this run
  std::exception_ptr failure_;
  std::jthread thread_;
};

}  // namespace extmerge
