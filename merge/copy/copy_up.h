// SPDX-License-Identifier: GPL-3.0-or-later
//
// Gives other thins their own copies of planned blocks that they read from the origin. Afterwards a
// merge changes nothing that these thins show. The kernel's snapshot-merge does the same.
//
// A thin block that is written becomes the thin's own. So each block is read from the origin once,
// and written as a whole through the device of each thin that does not map it. Where the origin
// ends inside a block, a thin shows zeros behind that end.
//
// Nothing is journaled: the pool's metadata tells which blocks are copied. After an interruption
// the same call copies the rest.
//
// Memory: 8 MiB, and 2 MiB for each thin.

#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "merge/plan/progress.h"
#include "merge/plan/runs.h"

namespace extmerge {

struct CopyUpThin {
  MetadataBlock mapping_root;
  std::shared_ptr<BlockDevice> device;  // no other program may write to it
};

struct CopyUpJob {
  RunSource& plan;
  const PlanLimits& limits;
  MetadataReader& reader;
  DataBlock end_of_data;
  BlockDevice& origin;
  // Called before each write of a batch. Throws to stop.
  std::function<void()> watch;
};

// On return the copies are durable, with their mappings. Throws kReadFailed, kWriteFailed,
// kFlushFailed, kStopped if `stop` was requested, and as MappingWalk::next() does.
void copy_up(const CopyUpJob& job, const std::vector<CopyUpThin>& thins, Progress& progress,
             const std::stop_token& stop);

}  // namespace extmerge
