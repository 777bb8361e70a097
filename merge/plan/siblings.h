// SPDX-License-Identifier: GPL-3.0-or-later
//
// Finds siblings that a merge would change. A sibling reads the origin where it maps nothing
// itself. So each planned block that it does not map harms it.
//
// Method: the trees of all siblings are swept at once (merge/plan/sibling_sweep.h), and a tree of
// several siblings only once. A plan with blocks too high for a PlannedTree is compared with one
// sibling after the other: both trees are walked in key order, without their shared subtrees.
//
// A sibling of another pool has other nodes, and perhaps blocks of another size. It is compared
// with the plan in its own blocks (RescaledRuns): such a block is harmed if it holds a planned byte
// and is not mapped.
//
// Pool metadata does not record the origin of a thin. So for plain devices these are only possible
// siblings.

#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "io/error.h"
#include "merge/plan/planned_tree.h"
#include "merge/plan/runs.h"
#include "merge/plan/sibling_sweep.h"

namespace extmerge {

// In texts for people, more names than these are counted, not listed.
inline constexpr size_t kMostNamed = 5;

struct Sibling {
  ThinId id{};
  std::string name;  // empty if unknown
  // Blocks of the sibling's own pool. All planned blocks if its mappings cannot be read.
  uint64_t harmed_blocks = 0;
  bool unreadable = false;
  bool certain = false;        // it is known to read the origin
  std::string pool{};          // OriginUser::pool
  DataBlockSize block_size{};  // of its pool, if that is known
  Refusal reason{};            // why its mappings cannot be read, if that is known
};

// The siblings among `devices`: all but the source. `read` counts thins with the same tree as one.
// `plan` has the runs of a plan that was made without its tree. Throws kStopped if `stop` was
// requested, kReadFailed.
std::vector<Sibling> find_siblings(MetadataReader& reader, const std::vector<ThinDevice>& devices,
                                   const PlannedTree& planned, DataBlock end_of_data,
                                   const TreesRead& read = {}, const std::stop_token& stop = {},
                                   const PlanRuns& plan = {});

// Whether the mappings prove that `younger` is a snapshot of `older`, or of a snapshot of it, and
// so on: both have a data block that `older` was given after its own creation. Only a snapshot
// shares a data block. False if no such block is among the first mappings of both, at most a
// million.
bool is_descendant(MetadataReader& reader, const ThinDevice& younger, const ThinDevice& older,
                   DataBlock end_of_data, const std::stop_token& stop);

// How many blocks of `runs` a device does not map. Throws kStopped, and as MappingWalk::next()
// does.
uint64_t count_unmapped(RunSource& runs, MetadataReader& reader, MetadataBlock mapping_root,
                        DataBlock end_of_data, const std::stop_token& stop);

}  // namespace extmerge
