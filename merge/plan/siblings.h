// SPDX-License-Identifier: GPL-3.0-or-later
//
// Every other thin that reads the origin where it has nothing mapped itself
// changes when a block is merged there. The exact rule: a sibling is harmed by
// each planned block that it does not map.
//
// Method: the trees of all siblings are swept at once (merge/plan/sibling_sweep.h), and each tree
// that several of them have only once. A plan with blocks too far up for a PlannedTree is compared
// with one sibling after the other: both trees are walked in key order, without the subtrees
// they share.
//
// Pool metadata does not record who uses which origin: for a source given as
// plain devices these are possible siblings only.

#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "merge/plan/planned_tree.h"
#include "merge/plan/runs.h"
#include "merge/plan/sibling_sweep.h"

namespace extmerge {

// More names than these are counted, not listed, in what people read.
inline constexpr size_t kMostNamed = 5;

struct Sibling {
  ThinId id{};
  std::string name;            // where known, else empty
  uint64_t harmed_blocks = 0;  // all of the plan's if its mappings cannot be read
  bool unreadable = false;
  bool certain = false;  // it is known to read the origin
};

// Each of `devices` but the source. `read` is told of thins that have the same tree as of one.
// Throws kStopped if `stop` was requested, kReadFailed.
std::vector<Sibling> find_siblings(MetadataReader& reader, const std::vector<ThinDevice>& devices,
                                   const PlannedTree& planned, DataBlock end_of_data,
                                   const TreesRead& read = {}, const std::stop_token& stop = {});

// How many blocks of `runs` a device does not map. Throws kStopped, and as MappingWalk::next().
uint64_t count_unmapped(RunSource& runs, MetadataReader& reader, const ThinDevice& device,
                        DataBlock end_of_data, const std::stop_token& stop);

}  // namespace extmerge
