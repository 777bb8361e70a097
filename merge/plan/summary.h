// SPDX-License-Identifier: GPL-3.0-or-later
//
// The summary of a plan: counts, sums and digest. These do not depend on the order of the runs, so
// there are two ways to compute a summary. PlannedRuns (merge/plan/runs.h) counts run by run in
// plan order, and also gives the runs. summarize() reads the metadata in the order of places, with
// several threads.

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>

#include "io/error.h"
#include "io/units.h"
#include "merge/plan/digest.h"
#include "merge/plan/run.h"
#include "persistent-data/devices.h"
#include "persistent-data/mapping_walk.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

class PlannedTree;

// kStopped, for a stop before the first byte is copied.
Error stopped_while_planning();

// Runs, summed up.
struct RunSums {
  uint64_t blocks = 0;  // the last perhaps in part
  uint64_t runs = 0;
  uint64_t held_runs = 0;  // of these, those of kHeld
  Bytes bytes;
  Bytes end{};  // offset on the origin where the last extent ends
  RunDigest digest{};

  void add(const Run& run, const PlanLimits& limits);
  void add(const RunSums& other);
};

struct PlanSummary {
  uint64_t mapped_blocks = 0;  // of the whole device, including blocks that are never copied
  uint64_t copy_blocks = 0;    // copied, the last perhaps in part
  uint64_t runs = 0;           // to be copied, and those that a copy only records
  uint64_t held_runs = 0;      // of these, the ones that are only recorded
  Bytes copy_bytes;
  Bytes beyond_origin_bytes{};  // mapped before the thin's end, past the origin's
  Bytes beyond_thin_bytes{};    // mapped past the thin's end, so not visible
  Bytes end_of_copy{};          // offset on the origin where the last extent ends
  PlanDigest digest;
  // The digest of a plan with everything. A round's plan is a part of it.
  PlanDigest state_digest;
  uint32_t newest_time = 0;  // of all mappings, 24 bits
  friend bool operator==(const PlanSummary&, const PlanSummary&) = default;
};

// Called for each range that is mapped and visible in the thin but lies past the origin's end.
using BeyondOrigin = std::function<void(const Extent&)>;

// Counts runs of one device. Copies may count parts, which are added up. Several threads count ten
// million times side by side, so each counter has its own cache lines.
class alignas(128) PlanCounter {
 public:
  // `device` and `limits` are copied; `beyond` may be empty.
  PlanCounter(const ThinDevice& device, const PlanLimits& limits, BeyondOrigin beyond);

  // Counts a coalesced run of the metadata. Returns its part before the plan's end, perhaps without
  // blocks. Throws kMetadataDamaged for a run past the end of any possible device.
  Run count(const Run& run);
  // Counts a coalesced run of a round's plan, and returns the same part of it.
  Run count_planned(const Run& run);
  // Notes the times of mappings.
  void look_at(std::span<const Mapping> mappings);
  void add(const PlanCounter& other);
  // The summary. Throws kMetadataDamaged if `mapped_blocks` is not the number in the device's
  // details.
  PlanSummary finish(uint64_t mapped_blocks) const;

 private:
  void count_past_end(const Run& run);
  Run before_end(const Run& run) const;

  ThinDevice device_;
  PlanLimits limits_;
  uint64_t end_block_;   // the first block that is not copied
  uint64_t last_block_;  // the number of blocks that the largest device holds
  BeyondOrigin beyond_;
  RunSums all_, planned_;
  Bytes beyond_origin_, beyond_thin_;
  uint32_t newest_time_ = 0;
};

// Called now and then with the mappings read since the last call; from several threads.
using MappingsRead = std::function<void(uint64_t)>;

// The summary of a device's plan. Checks the whole mapping tree, and fills `tree` if that is given.
// `beyond` is called by one thread at a time, in any order. Throws kStopped if `stop` was
// requested, and as MappingWalk::next() and PlanCounter do. Memory: that of LeafScan, and 48 bytes
// a leaf of its window, at most 24 MiB.
PlanSummary summarize(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                      const PlanLimits& limits, const std::stop_token& stop,
                      const BeyondOrigin& beyond, const MappingsRead& read,
                      PlannedTree* tree = nullptr);

}  // namespace extmerge
