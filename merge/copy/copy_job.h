// SPDX-License-Identifier: GPL-3.0-or-later
//
// What is to be copied, how, and who is told of the progress.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "io/block_device.h"
#include "merge/journal/record.h"
#include "merge/plan/runs.h"
#include "merge/undo/log.h"

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

}  // namespace extmerge
