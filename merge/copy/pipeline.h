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
// Memory: threads x 2 buffers, whatever the pool. The first failure, or a stop, ends taking. Pieces
// in flight are finished. All bytes that are complete in plan order are flushed and recorded before
// the failure is thrown.

#pragma once

#include <optional>
#include <stop_token>

#include "merge/copy/copy_job.h"
#include "merge/plan/progress.h"

namespace extmerge {

// Copies everything, then flushes and records the last position. Throws kReadFailed, kWriteFailed,
// kFlushFailed; kStopped if `stop` was requested before the end. Except after a failed flush,
// complete bytes are durable and recorded first.
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
