// SPDX-License-Identifier: GPL-3.0-or-later
//
// Makes the copy durable and records that, in this order only:
//
//   origin writes complete -> origin flushed, result checked -> record() -> journal synced
//
// Method: the commit stage reports the position, in plan order, to a thread of its own. When a
// checkpoint is due and none is under way, the thread flushes the origin and records exactly that
// position. Reads and writes continue during the flush; a write that completes after its start
// belongs to the next checkpoint.
//
// A failed flush is final. Any write since the last good flush may be lost, and a second flush may
// succeed without it. So nothing more is recorded, and flush() is not called again. A sink that
// throws is final, too.
//
// Threads: one at a time calls reached() and finish().

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
  // The thread calls `on_failure` when a checkpoint has failed.
  Checkpoints(const CopyJob& job, const PipelineOptions& options, CheckpointSink& sink,
              Progress& progress, std::function<void()> on_failure);
  // Waits for the checkpoint under way.
  ~Checkpoints();
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;

  // Reports that every write below the position is complete.
  void reached(const JournalProgress& progress);
  // The last checkpoint: returns when it is durable and recorded. Throws Error(kFlushFailed), or
  // the sink's exception, also of an earlier checkpoint.
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

  Bytes begun_position_;  // of the latest checkpoint begun, or the start of the run
  Clock::time_point begun_time_;

  std::mutex lock_;
  std::condition_variable_any changed_;
  std::optional<JournalProgress> wanted_;  // handed over and not finished yet
  std::optional<Bytes> recorded_;          // the last position recorded by this run
  std::exception_ptr failure_;
  std::jthread thread_;
};

}  // namespace extmerge
