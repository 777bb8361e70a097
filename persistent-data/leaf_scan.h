// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reads all mappings of one thin device, leaf by leaf, in the order of places on the device, with
// several threads. In an aged pool this is several times faster than the order of keys
// (mapping_walk.h). Counts and sums do not need an order.
//
// Method: the inner nodes are read first. They give the places of very many leaves in order of keys
// (a window). These leaves are then swept (block_sweep.h). Memory: 36 bytes a leaf of the window,
// at most 20 MiB.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "persistent-data/btree.h"
#include "persistent-data/mapping_walk.h"

namespace extmerge {

class LeafScan {
 public:
  static constexpr unsigned kWorkers = BlockSweep::kWorkers;
  static constexpr size_t kWindow = size_t{1} << 19;

  // `leaf` is the leaf's number in the window, in order of keys. Calls with the same `worker`
  // (below kWorkers) never overlap; those with different ones may. An empty tree has a leaf without
  // mappings. May throw.
  using Visit =
      std::function<void(unsigned worker, size_t leaf, std::span<const Mapping> mappings)>;

  // `reader` must outlive the scan. Mappings to data blocks at or past `end_of_data` are damage.
  LeafScan(MetadataReader& reader, MetadataBlock root, DataBlock end_of_data);

  // Moves to the next window, whose keys follow those of the one before. Returns its number of
  // leaves, 0 at the end. Both functions throw as MappingWalk::next() does.
  size_t next_window();
  // Visits all leaves of the window.
  void visit_window(const Visit& visit);

  // The block of a leaf of the window.
  MetadataBlock block_of(size_t leaf) const { return blocks_[leaf]; }
  // The part of the tree that was reached so far.
  const LeafFinder& tree() const { return finder_; }

 private:
  struct Keys {
    uint64_t first = 0;
    uint64_t end = 0;
  };

  MetadataReader& reader_;
  const MetadataBlock root_;
  const DataBlock end_of_data_;
  LeafFinder finder_;
  std::vector<MetadataBlock> blocks_;  // of the window, in order of keys
  std::vector<Keys> keys_;             // the range of keys that a leaf may hold
  std::array<std::vector<Mapping>, kWorkers> mappings_;
};

}  // namespace extmerge
