// SPDX-License-Identifier: GPL-3.0-or-later
//
// All mappings of one thin device, leaf by leaf, in the order in which the leaves lie on
// the device: several times faster than in the order of keys (mapping_walk.h) where a
// pool has aged, and with several threads. For whoever counts and sums.
//
// Method: the inner nodes are read first, which gives the places of a great many leaves in
// order of keys (a window); these are then swept (block_sweep.h).
// Memory: 36 bytes a leaf of the window, at most 20 MiB.

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

  // `leaf` counts the window's leaves in order of keys. Of `worker` (below kWorkers) there
  // is one call at a time, of different ones several. No mappings: the tree is empty. May throw.
  using Visit =
      std::function<void(unsigned worker, size_t leaf, std::span<const Mapping> mappings)>;

  // `reader` must outlive it. Mappings to data blocks at or past `end_of_data` are damage.
  LeafScan(MetadataReader& reader, MetadataBlock root, DataBlock end_of_data);

  // Goes on to the next window, whose keys follow those of the one before; returns how many
  // leaves it has, 0 at the end. Both throw as MappingWalk::next() does.
  size_t next_window();
  // Visits all leaves of the window.
  void visit_window(const Visit& visit);

  // Where a leaf of the window lies.
  MetadataBlock block_of(size_t leaf) const { return blocks_[leaf]; }
  // The tree as far as it was reached.
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
  std::vector<Keys> keys_;             // that a leaf may hold
  std::array<std::vector<Mapping>, kWorkers> mappings_;
};

}  // namespace extmerge
