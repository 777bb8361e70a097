// SPDX-License-Identifier: GPL-3.0-or-later
//
// Delivers the mappings of one thin device in order of thin block, and checks every node. Memory
// does not grow with the tree.
//
// Method: inner nodes (one in 126 or more) are read one after the other. Leaves are read in
// batches, sorted by block number, with neighbours joined. One batch is in flight while the one
// before is decoded. Memory: two batches of 256 blocks, at most 252 nodes per level, a bit per
// metadata block.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "persistent-data/btree.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

struct Mapping {
  ThinBlock thin;
  DataBlock data;
  uint32_t time = 0;  // the pool's time when the mapping was made, its lower 24 bits
};

// A mapping has 24 bits for its time. Times of a pool that has reached this end say nothing.
inline constexpr uint32_t kEndOfTimes = uint32_t{1} << 24;

// Replaces `mappings` by the checked mappings of one leaf. Throws kMetadataDamaged.
void decode_leaf(std::span<const std::byte> block, const NodeExpectation& leaf,
                 DataBlock end_of_data, std::vector<Mapping>& mappings);

struct MappingWalkOptions {
  // Mappings to data blocks at or past this are damage.
  DataBlock end_of_data{uint64_t{1} << 40};
  // Known nodes: their subtrees are skipped. The walk does not add nodes here.
  const BlockSet* skip = nullptr;
  // If set, every subtree skipped because of `skip` is marked here.
  BlockSet* skipped = nullptr;
  // Leaves are not read, and next() delivers nothing. This finds shared subtrees.
  bool inner_nodes_only = false;
};

class MappingWalk {
 public:
  // Starts at the root of one device's mapping tree. `reader` must outlive the walk.
  MappingWalk(MetadataReader& reader, MetadataBlock root, const MappingWalkOptions& options);
  ~MappingWalk();
  MappingWalk(MappingWalk&&) noexcept;

  // The next mappings, valid until the next call; empty at the end. Throws kReadFailed and
  // kMetadataDamaged. Damage is: a node fails check_node(), a block is reached twice, leaves lie at
  // different depths, the tree is deeper than kMaxDepth, a data block is out of range, thin blocks
  // do not rise. After an exception the walk can only be destroyed.
  std::span<const Mapping> next();

  // Mappings delivered so far.
  uint64_t delivered() const;
  // The blocks of the tree reached so far, inner nodes and leaves.
  const BlockSet& visited() const;

  static constexpr unsigned kMaxDepth = kMaxTreeDepth;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace extmerge
