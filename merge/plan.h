// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan: which bytes of the data device go where on the origin.
//
// A run is what the metadata says, in blocks: neighbours that continue both on
// the thin and on the data device. An extent is what the copy does, in bytes:
// the run, cut at the plan's end. The end is the lower of the thin's end and
// the origin's; nothing at or past it is ever read from the origin or written.
// A position in the plan is a number of planned bytes: the extents laid end to
// end in plan order (today: the order of the origin). Progress is one position.
//
// Everything streams: a plan of 256 million runs is never in memory as a whole.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "io/error.h"
#include "io/units.h"
#include "merge/run.h"
#include "merge/run_digest.h"
#include "persistent-data/devices.h"
#include "persistent-data/mapping_walk.h"

namespace extmerge {

// kStopped, for whatever happens before the first byte is copied.
Error stopped_while_planning();

// Runs in plan order: rising thin blocks that do not overlap.
class RunSource {
 public:
  virtual ~RunSource() = default;
  // False at the end.
  virtual bool next(Run& run) = 0;
};

struct PlanSummary {
  uint64_t mapped_blocks = 0;  // of the whole device, also those never copied
  uint64_t copy_blocks = 0;    // copied, the last perhaps in part
  uint64_t runs = 0;           // to be copied
  Bytes copy_bytes;
  Bytes beyond_origin_bytes;  // mapped, before the thin's end, past the origin's
  Bytes beyond_thin_bytes;    // mapped, past the thin's end: nobody can see them
  Bytes end_of_copy;          // offset on the origin where the last extent ends
  PlanDigest digest;
};

// The runs of one device as the metadata has them, clipped, counted and
// digested on the way.
class PlannedRuns : public RunSource {
 public:
  // Called for each range that is mapped and visible in the thin but lies past
  // the origin's end; what it needs to look into the data.
  using BeyondOrigin = std::function<void(const Extent&)>;

  PlannedRuns(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
              const PlanLimits& limits, std::stop_token stop = {}, BeyondOrigin beyond = {});

  // Throws kStopped if `stop` was requested, and as MappingWalk::next() does; at the end also
  // kMetadataDamaged if the number of mappings is not the one in the device's details.
  bool next(Run& run) override;

  // Complete once next() has returned false.
  const PlanSummary& summary() const { return summary_; }
  // The blocks of the mapping tree.
  const BlockSet& visited() const { return walk_.visited(); }

 private:
  // The next run as the metadata has it, not yet cut at the plan's end.
  bool next_unclipped(Run& run);
  void count(const Run& run);
  void count_past_end(const Run& run);
  void finish();

  MappingWalk walk_;
  const ThinDevice device_;
  const PlanLimits limits_;
  const uint64_t end_block_;  // the first that is not copied at all
  const std::stop_token stop_;
  const BeyondOrigin beyond_;
  std::span<const Mapping> batch_;  // mappings not looked at yet
  bool ended_ = false;
  PlanSummary summary_;
  RunDigest digest_;
};

// A RunSource as extents, from a position on.
class ExtentSource {
 public:
  // `skip` planned bytes of the source are passed over.
  ExtentSource(RunSource& runs, const PlanLimits& limits, Bytes skip = Bytes(0));
  // At most `most` bytes, nothing at the end.
  std::optional<Extent> next(Bytes most);

 private:
  RunSource& runs_;
  const PlanLimits limits_;
  Bytes skip_;
  Extent rest_;
};

}  // namespace extmerge
