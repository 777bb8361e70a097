// SPDX-License-Identifier: GPL-3.0-or-later
//
// The copy: a oneTBB pipeline of pieces, each at most one buffer long.
//
//   take     serial, in plan order: the next extents, up to a buffer full; rate limit
//   copy     parallel: read in data order | read the origin and compare | save what differs to
//            the undo log, synced | write in origin order
//   commit   serial, in plan order: the position moves; now and then a checkpoint of it, in
//            a thread of its own so that the others go on:
//            origin flushed, result checked -> progress recorded -> journal synced
//
// Memory: threads x 2 buffers, whatever the pool. The first failure, or a stop,
// ends taking; what is in flight is finished, and what is complete in plan
// order is flushed and recorded before the failure is thrown.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>

#include "io/block_device.h"
#include "merge/journal.h"
#include "merge/plan.h"
#include "merge/progress.h"
#include "merge/undo_log.h"

namespace extmerge {

enum class CompareMode { kAuto, kAlways, kNever };

struct PipelineOptions {
  CompareMode compare = CompareMode::kAuto;
  Bytes io_size{1 << 20};           // of one transfer, at most
  unsigned io_depth = 64;           // transfers in flight per device and piece
  Bytes buffer_size{1 << 20};       // of one piece
  unsigned threads = 4;             // pieces in flight
  std::optional<Bytes> rate_limit;  // planned bytes a second
  Bytes checkpoint_bytes{256 << 20};
  std::chrono::milliseconds checkpoint_time{5000};
};

// Told of each position that is durable on the origin, from a thread of the
// copy's own, one at a time. If it throws, the copy ends with what it threw.
class CheckpointSink {
 public:
  virtual ~CheckpointSink() = default;
  virtual void record(const JournalProgress& progress) = 0;
};

struct CopyJob {
  BlockDevice& data;
  BlockDevice& origin;
  ExtentSource& extents;
  JournalProgress start;  // where `extents` begins, and what was counted before
  // Called about once a second; what it throws ends the work as a failure of it would.
  std::function<void()> watch = {};
  // What is overwritten is saved there first. Then everything is compared, whatever the options
  // say, and written in pieces of 4 KiB exactly where it differs.
  UndoLog* undo_log = nullptr;
};

// Copies everything, then flushes and records the last position. Throws
// kReadFailed, kWriteFailed, kFlushFailed; kStopped if `stop` was requested
// before the end. In each case but a failed flush, what was complete is durable
// and recorded first.
JournalProgress copy_extents(const CopyJob& job, const PipelineOptions& options,
                             CheckpointSink& checkpoints, Progress& progress, std::stop_token stop);

struct VerifyResult {
  Bytes bytes_compared;
  Bytes bytes_different;                  // in units of 4 KiB, or the tail
  std::optional<Bytes> first_difference;  // offset on the origin
};

// Reads both sides and compares; writes nothing.
VerifyResult compare_extents(const CopyJob& job, const PipelineOptions& options, Progress& progress,
                             std::stop_token stop);

}  // namespace extmerge
