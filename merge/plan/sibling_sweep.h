// SPDX-License-Identifier: GPL-3.0-or-later
//
// How many planned blocks each of many trees maps. A pool can have 100,000 thins of one leaf
// each: read one by one, their roots alone take minutes.
//
// Method: the trees are read level by level, all of them together, each level in the order of its
// places on the device (persistent-data/block_sweep.h). A block that several trees have is read
// once. What the source's tree has too is not read: its planned blocks are known. Neither is a
// subtree whose keys have no planned block.
// Memory: 40 bytes a tree, and for each level at most some 20 MiB: where the nodes of a level have
// more children than that, the level is read in parts.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "merge/plan/planned_tree.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

struct TreeOverlap {
  uint64_t planned_blocks = 0;  // that the tree maps
  bool damaged = false;         // then the count means nothing
};

// Told of roots and mappings read since the last time; from several threads.
using TreesRead = std::function<void(uint64_t roots, uint64_t mappings)>;

// Of each tree in `roots`, which differ and rise. `planned` has all bits. Nodes are checked as
// MappingWalk checks them; mappings to data blocks at or past `end_of_data` are damage, too.
// Nodes are put off once those of a level have `most_children`. Throws kStopped, kReadFailed.
std::vector<TreeOverlap> count_overlaps(MetadataReader& reader,
                                        const std::vector<MetadataBlock>& roots,
                                        const PlannedTree& planned, DataBlock end_of_data,
                                        const TreesRead& read, const std::stop_token& stop,
                                        size_t most_children = size_t{1} << 17);

}  // namespace extmerge
