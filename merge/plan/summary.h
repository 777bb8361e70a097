// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a plan amounts to: counts, sums and its digest. None of it depends on the order in
// which runs are counted, so there are two ways to the same summary: run by run in plan
// order, for whoever needs the runs too (PlannedRuns in merge/plan/runs.h), and summarize(),
// which reads the metadata in the order it lies in and with several threads.

#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

#include "io/error.h"
#include "io/units.h"
#include "merge/plan/digest.h"
#include "merge/plan/run.h"
#include "persistent-data/devices.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

class PlannedTree;

// kStopped, for whatever happens before the first byte is copied.
Error stopped_while_planning();

struct PlanSummary {
  uint64_t mapped_blocks = 0;  // of the whole device, also those never copied
  uint64_t copy_blocks = 0;    // copied, the last perhaps in part
  uint64_t runs = 0;           // to be copied
  Bytes copy_bytes;
  Bytes beyond_origin_bytes;  // mapped, before the thin's end, past the origin's
  Bytes beyond_thin_bytes;    // mapped, past the thin's end: nobody can see them
  Bytes end_of_copy;          // offset on the origin where the last extent ends
  PlanDigest digest;
  friend bool operator==(const PlanSummary&, const PlanSummary&) = default;
};

// Called for each range that is mapped and visible in the thin but lies past
// the origin's end; what it needs to look into the data.
using BeyondOrigin = std::function<void(const Extent&)>;

// Counts runs of one device. Copies of it may count parts, to be added up.
// Several threads have one each, side by side, and count ten million times: each in cache lines
// of its own.
class alignas(128) PlanCounter {
 public:
  // What counted() and finish() need of the device.
  PlanCounter(const ThinDevice& device, const PlanLimits& limits, BeyondOrigin beyond);

  // A run as the metadata has it, coalesced. Returns what of it is copied, with no blocks if
  // that is nothing. Throws kMetadataDamaged for one that no device has room for.
  Run count(const Run& run);
  void add(const PlanCounter& other);
  // Throws kMetadataDamaged if `mapped_blocks` is not what the device's details say.
  PlanSummary finish(uint64_t mapped_blocks) const;

 private:
  void count_past_end(const Run& run);

  ThinDevice device_;
  PlanLimits limits_;
  uint64_t end_block_;   // the first that is not copied at all
  uint64_t last_block_;  // that any device has room for, as a number of blocks
  BeyondOrigin beyond_;
  PlanSummary sums_;
  RunDigest digest_;
};

// Told, now and then, of mappings read since the last time; from several threads.
using MappingsRead = std::function<void(uint64_t)>;

// The summary of a device's plan. Checks all of its tree, and fills `tree` if that is given.
// `beyond` is called by one thread at a time, in no particular order. Throws kStopped if
// `stop` was requested, and as MappingWalk::next() and PlanCounter do.
// Memory: 48 bytes a leaf of a window of LeafScan beside its own, at most 24 MiB.
PlanSummary summarize(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                      const PlanLimits& limits, const std::stop_token& stop,
                      const BeyondOrigin& beyond, const MappingsRead& read,
                      PlannedTree* tree = nullptr);

}  // namespace extmerge
