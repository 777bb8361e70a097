// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan of a copy: the runs that bring a target from its base to the state of a thin.
//
//   block                                             default      whole        run
//   mapped, and made since the base                   yes          yes          kPoolData
//   mapped, and the base's                            recorded     recorded     kHeld
//   not mapped, and mapped in the base                yes          yes          kUnmapped, kZeros
//   not mapped, and past the end of the base                       yes          kUnmapped, kZeros
//   any other that is not mapped                                                none
//
// Without a base all mappings were made since. The base's mapped blocks cannot be read from the
// metadata any more, so each copy records those of its own state (kHeld), for the next one.

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stop_token>

#include "merge/plan/runs.h"
#include "merge/plan/summary.h"
#include "persistent-data/devices.h"
#include "persistent-data/mapping_walk.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

class CopyRuns : public RunSource {
 public:
  // The meaning of the last journal. kState: the target has the state that its runs describe.
  // kWritten: some of its runs may have been written to the target.
  enum class Base { kState, kWritten };
  // `reader` must outlive it. `base` gives the runs of the target's last journal, or is null.
  // `left_out` is called for each mapping of the base, in order.
  CopyRuns(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
           const CopyLimits& limits, std::unique_ptr<RunSource> base, Base known,
           std::stop_token stop = {}, std::function<void(const Mapping&)> left_out = {});

  // Throws as PlannedRuns::next() does.
  bool next(Run& run) override;

  // Complete once next() has returned false.
  const PlanSummary& summary() const { return summary_; }

 private:
  // The next piece of the plan, before neighbours are joined.
  bool next_piece(Run& piece);
  // The first part of what is not mapped from next_block_ to `end`. False if nothing of it is
  // planned.
  bool next_unmapped(uint64_t end, Run& piece);
  // The first run that the base mapped, or got, that ends after `block`; null if there is none.
  const Run* base_after(uint64_t block);
  const Mapping* next_mapping();

  MappingWalk walk_;
  const CopyLimits limits_;
  const uint64_t end_block_;
  const uint64_t first_new_block_;  // from here on the base has nothing
  const uint64_t origin_blocks_;    // blocks with a byte of the origin
  const std::unique_ptr<RunSource> base_;
  const Base known_;
  const std::stop_token stop_;
  const std::function<void(const Mapping&)> left_out_;
  std::span<const Mapping> batch_;
  Run of_base_;
  bool base_ended_ = false;
  uint64_t next_block_ = 0;
  Run pending_;  // the beginning of the next run
  Run any_;      // the last run of all mappings, not counted yet
  bool ended_ = false;
  PlanCounter counter_;  // of all mappings
  RunSums planned_;
  PlanSummary summary_;
};

}  // namespace extmerge
