// SPDX-License-Identifier: GPL-3.0-or-later
//
// A data disk, an origin, a plan, and the expected result of a copy, byte by byte. A file takes the
// recorded positions, so that writes, flushes and records are one sequence of operations.

#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "merge/copy/pipeline.h"
#include "tests/merge/journal/journal_fixture.h"
#include "tests/support/simulated_world.h"

namespace extmerge {

struct CopyShape {
  uint64_t block_size = 65536;
  uint64_t origin_size = 2 << 20;
  uint64_t data_blocks = 40;
  Runs runs;
  uint64_t data_logical_block = 512;
  uint64_t origin_logical_block = 512;
  unsigned percent_equal = 0;  // of the planned units of 4 KiB
  uint64_t seed = 1;
};

// Single blocks and longer runs with gaps between them, in different places of the data disk. The
// origin ends inside the last block if `tail`.
CopyShape scattered_shape(size_t runs, uint64_t seed, bool tail = true);

struct PlannedRange {
  uint64_t position;
  uint64_t origin;
  uint64_t data;
  uint64_t length;
};

class CopyScene : private CheckpointSink {
 public:
  explicit CopyScene(const CopyShape& shape);

  SimulatedWorld& world() { return world_; }
  SimulatedDisk& data() { return data_; }
  SimulatedDisk& origin() { return origin_; }
  uint64_t planned() const { return planned_; }
  const std::vector<PlannedRange>& ranges() const { return ranges_; }  // block by block
  const FileBytes& first_origin() const { return first_origin_; }
  const FileBytes& first_data() const { return first_data_; }
  FileBytes expected() const { return expected_up_to(planned_); }
  FileBytes expected_up_to(uint64_t position) const;

  // Replaces the disks, for example by one that waits now and then.
  void put_before(BlockDevice* data, BlockDevice* origin);
  // Called with each record before it is written; may throw.
  void on_record(std::function<void(const JournalProgress&)> callback) { on_record_ = callback; }

  JournalProgress copy(const PipelineOptions& options, JournalProgress start = {},
                       std::stop_token stop = {});
  // The id of the failure; nothing if the copy succeeds.
  std::optional<MessageId> try_copy(const PipelineOptions& options, JournalProgress start = {},
                                    std::stop_token stop = {});
  VerifyResult compare(const PipelineOptions& options, std::stop_token stop = {});
  Progress& progress() { return progress_; }

  // The last position in the file; nothing if there is none.
  std::optional<uint64_t> recorded() const;
  // All positions recorded since the scene was made.
  const std::vector<JournalProgress>& records() const { return records_; }

  // A complaint, in words, unless the origin is a possible result of a copy up to at least
  // `position`.
  std::string untruth(const FileBytes& origin, uint64_t position) const;

  // From now on, compares each new record with the durable contents of the origin. complaints() has
  // the faults in words.
  void watch_records();
  const std::string& complaints() const { return complaints_; }

 private:
  void record(const JournalProgress& progress) override;

  const CopyShape shape_;
  const PlanLimits limits_;
  SimulatedWorld world_;
  FileBytes first_data_;
  FileBytes first_origin_;
  SimulatedDisk data_;
  SimulatedDisk origin_;
  BlockDevice* data_in_use_;
  BlockDevice* origin_in_use_;
  SimulatedDirectory directory_;
  std::vector<PlannedRange> ranges_;
  uint64_t planned_ = 0;
  std::function<void(const JournalProgress&)> on_record_;
  std::vector<JournalProgress> records_;
  std::string complaints_;
  Progress progress_;
};

// Keeps the last position and nothing else.
class LastRecord : public CheckpointSink {
 public:
  void record(const JournalProgress& progress) override { position = progress.position; }
  std::optional<Bytes> position;
};

// Small pieces, so that small plans have many.
PipelineOptions small_pieces(CompareMode compare = CompareMode::kNever, unsigned threads = 4);

// A device in front of another, with callbacks before calls that may sleep. Many threads call them
// at once.
class DeviceInFront : public BlockDevice {
 public:
  explicit DeviceInFront(BlockDevice& behind) : behind_(behind) {}

  std::function<void()> before_wait = [] {};
  std::function<void()> before_flush = [] {};

  const std::string& name() const override { return behind_.name(); }
  Bytes size() const override { return behind_.size(); }
  Bytes logical_block_size() const override { return behind_.logical_block_size(); }
  std::unique_ptr<AsyncQueue> make_queue(unsigned depth) override;
  int flush() override {
    before_flush();
    return behind_.flush();
  }
  void resize(Bytes size) override { behind_.resize(size); }
  void drop_cache() override { behind_.drop_cache(); }

 private:
  class Queue;
  BlockDevice& behind_;
};

}  // namespace extmerge
