// SPDX-License-Identifier: GPL-3.0-or-later
//
// The copy's input: extents, devices, options, and the receiver of progress.

#pragma once

#include <chrono>
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

// Receives each position that is durable on the origin, one at a time, from a thread of the copy's
// own. An exception of record() ends the copy.
class CheckpointSink {
 public:
  virtual ~CheckpointSink() = default;
  virtual void record(const JournalProgress& progress) = 0;
};

struct CopyJob {
  BlockDevice& data;
  BlockDevice& origin;
  ExtentSource& extents;
  JournalProgress start;  // the start of `extents`, and the counts so far
  // Called about once a second. Its exception ends the work like any failure.
  std::function<void()> watch = {};
  // Overwritten bytes are saved in the undo log first. With an undo log everything is compared,
  // whatever the options say, and only differing units of 4 KiB are written.
  UndoLog* undo_log = nullptr;
};

}  // namespace extmerge
