// SPDX-License-Identifier: GPL-3.0-or-later
//
// Every other thin that reads the origin where it has nothing mapped itself
// changes when a block is merged there. The exact rule: a sibling is harmed by
// each planned block that it does not map.
//
// Method: both trees are walked leaving out the subtrees they share (same block
// number: mapped in both by definition), so a thousand snapshots of one volume
// cost little more than one.
//
// Pool metadata does not record who uses which origin: for a source given as
// plain devices these are possible siblings only.

#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "merge/plan.h"

namespace extmerge {

struct Sibling {
  ThinId id{};
  std::string name;            // where known, else empty
  uint64_t harmed_blocks = 0;  // all of the plan's if its mappings cannot be read
  bool unreadable = false;
  bool certain = false;  // it is known to read the origin
};

// Every device in `devices` but `source`. Throws kStopped if `stop` was requested. `source_blocks`
// is what the walk of the source visited.
std::vector<Sibling> find_siblings(MetadataReader& reader, const std::vector<ThinDevice>& devices,
                                   const ThinDevice& source, const BlockSet& source_blocks,
                                   DataBlock end_of_data, const PlanLimits& limits,
                                   uint64_t plan_blocks, std::stop_token stop = {});

// How many blocks of `runs` a device does not map. Throws kStopped, and as MappingWalk::next().
uint64_t count_unmapped(RunSource& runs, MetadataReader& reader, const ThinDevice& device,
                        DataBlock end_of_data, const std::stop_token& stop);

}  // namespace extmerge
