// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan: which bytes of the data device go where on the origin.
//
// A run is a part of the metadata, in blocks: neighbours both on the thin and on the data device.
// An extent is a part of the copy, in bytes: a run, cut at the plan's end. The plan's end is the
// lower of the thin's end and the origin's. No byte at or past it is ever read from the origin or
// written. A position in the plan is a number of planned bytes: the extents laid end to end in plan
// order (today: the origin's order). Progress is one position.
//
// Everything streams: a plan of 256 million runs is never in memory as a whole.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>

#include "io/units.h"
#include "merge/plan/run.h"
#include "merge/plan/summary.h"
#include "persistent-data/mapping_walk.h"

namespace extmerge {

// Gives the runs of a plan, from its beginning.
using PlanRuns = std::function<std::unique_ptr<RunSource>()>;

// The runs of one device from the metadata, clipped, counted and digested on the way.
class PlannedRuns : public RunSource {
 public:
  // `left_out` is called for each mapping that a round leaves out, in order.
  PlannedRuns(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
              const PlanLimits& limits, std::stop_token stop = {}, BeyondOrigin beyond = {},
              std::function<void(const Mapping&)> left_out = {});

  // Throws kStopped if `stop` was requested, and as MappingWalk::next() does. At the end it also
  // throws kMetadataDamaged if the device's details have another number of mappings.
  bool next(Run& run) override;

  // Complete once next() has returned false.
  const PlanSummary& summary() const { return summary_; }

 private:
  // The next planned run in the metadata, before it is cut at the plan's end.
  bool next_unclipped(Run& run);
  // A round: counts the mapping among all, and tells whether it is planned.
  bool is_planned(const Mapping& mapping);

  MappingWalk walk_;
  const PlanLimits limits_;
  PlanCounter counter_;
  const std::stop_token stop_;
  const std::function<void(const Mapping&)> left_out_;
  std::span<const Mapping> batch_;  // mappings not looked at yet
  Run pending_;                     // the beginning of the next run
  Run any_;                         // a round: the last run of all mappings, not counted yet
  bool ended_ = false;
  PlanSummary summary_;
};

// A plan in blocks of another size: each block that holds a planned byte, once. The runs tell
// nothing of the data device.
class RescaledRuns : public RunSource {
 public:
  // `limits` are those of `plan`.
  RescaledRuns(std::unique_ptr<RunSource> plan, const PlanLimits& limits, DataBlockSize size)
      : plan_(std::move(plan)), limits_(limits), size_(size) {}
  bool next(Run& run) override;

 private:
  const std::unique_ptr<RunSource> plan_;
  const PlanLimits limits_;
  const DataBlockSize size_;
  uint64_t given_ = 0;  // the blocks before this one are given already
};

// The same for each reading of a plan.
PlanRuns rescaled_to(DataBlockSize size, const PlanLimits& limits, const PlanRuns& plan);

// Turns a RunSource into extents, from a position on.
class ExtentSource {
 public:
  // Skips `skip` planned bytes of the source, then returns at most `length`.
  ExtentSource(RunSource& runs, const PlanLimits& limits, Bytes skip = Bytes(0),
               Bytes length = Bytes(UINT64_MAX))
      : runs_(runs), limits_(limits), skip_(skip), length_(length) {}
  // The next extent, at most `most` bytes; nothing at the end.
  std::optional<Extent> next(Bytes most);

 private:
  RunSource& runs_;
  const PlanLimits limits_;
  Bytes skip_;
  Bytes length_;
  Extent rest_;
};

}  // namespace extmerge
