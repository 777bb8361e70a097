// SPDX-License-Identifier: GPL-3.0-or-later
//
// The contents of a whole thin, range by range: where each byte that it shows comes from.
//
// A thin shows its own data where it maps a block, the external origin where it maps none, and
// zeros past the origin's end. A range that is not mapped is the origin's content, never zeros.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>

#include "io/units.h"
#include "merge/plan/copy_runs.h"
#include "merge/plan/run.h"
#include "persistent-data/devices.h"
#include "persistent-data/mapping_walk.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

enum class Content {
  kPoolData,  // the thin's own block
  kOrigin,    // the external origin's bytes
  kZeros,
  kSame,  // what the base has there
};
inline constexpr size_t kContents = 4;

// A part of the thin, in bytes.
struct ContentRange {
  Bytes offset;
  Bytes length;
  Content content = Content::kPoolData;
  friend bool operator==(const ContentRange&, const ContentRange&) = default;
};

// Called in order. The ranges cover the thin without gaps, and neighbours differ.
using ContentListener = std::function<void(const ContentRange&)>;

// The sizes of the thin and of its origin, and the extent of the base.
struct ContentLimits {
  // Its `end` is the thin's. A mapping that it leaves out is the base's.
  PlanLimits mapped;
  Bytes origin_end;
  // Where nothing is mapped, the base has the origin's bytes up to here; 0 without such a base.
  Bytes unmapped_held_end{};
};

// Walks the device's whole mapping tree, and checks it. `left_out` is called for each mapping of
// the base, in order. Throws kStopped if `stop` was requested, and as MappingWalk::next() does;
// kMetadataDamaged if the device's details have another number of mappings.
void walk_contents(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                   const ContentLimits& limits, const ContentListener& listener,
                   const std::stop_token& stop = {},
                   const std::function<void(const Mapping&)>& left_out = {});

// The same beside the state that a copy recorded: `runs` brings it to the thin's state, and all
// that they leave out is the base's. Throws what they throw.
void walk_contents(CopyRuns& runs, const ContentLimits& limits, const ContentListener& listener);

}  // namespace extmerge
