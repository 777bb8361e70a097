// SPDX-License-Identifier: GPL-3.0-or-later
//
// Counts the planned blocks that each of many trees maps. A pool can have 100,000 thins of one leaf
// each: read one by one, their roots alone take minutes.
//
// Method: all trees are read together, level by level, each level in the order of places on the
// device (persistent-data/block_sweep.h). A block in several trees is read once. A block in the
// source's tree is not read: its planned blocks are known. A subtree without planned blocks is not
// read. Memory: 40 bytes a tree, and for each level at most some 20 MiB. A level with more children
// is read in parts; leaves that an earlier part has counted are not read again (3 MiB for 131,072
// of them).

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
  uint64_t planned_blocks = 0;  // mapped by the tree
  bool damaged = false;         // then the count means nothing
};

// Called with the roots and mappings read since the last call; from several threads.
using TreesRead = std::function<void(uint64_t roots, uint64_t mappings)>;

// The overlap of each tree in `roots`, which differ and rise. `planned` must have all bits. Nodes
// are checked as in MappingWalk; mappings to data blocks at or past `end_of_data` are damage, too.
// Once the nodes of a level have `most_children`, other nodes are read later. Throws kStopped,
// kReadFailed.
std::vector<TreeOverlap> count_overlaps(MetadataReader& reader,
                                        const std::vector<MetadataBlock>& roots,
                                        const PlannedTree& planned, DataBlock end_of_data,
                                        const TreesRead& read, const std::stop_token& stop,
                                        size_t most_children = size_t{1} << 14);

}  // namespace extmerge
