// SPDX-License-Identifier: GPL-3.0-or-later
//
// The mapping tree of the source, for comparisons with other thins. It answers two questions
// millions of times: is this thin block planned, and how many planned blocks lie below a shared
// node?
//
// Method: one bit for each thin block, with a count for every 512 bits, and one count for each
// metadata block. The walk that sums up the plan fills both, so the tree is read once.
// Memory: a bit for each thin block up to the plan's end, at most 32 MiB (16 TiB in blocks of
// 64 KiB), and 4 bytes for each metadata block, at most 16 MiB.

#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "io/buffer.h"
#include "merge/plan/run.h"
#include "persistent-data/btree.h"
#include "persistent-data/devices.h"
#include "persistent-data/mapping_walk.h"

namespace extmerge {

class PlannedTree {
 public:
  // Bits are kept for this many thin blocks.
  static constexpr uint64_t kMostBlocks = uint64_t{1} << 28;

  PlannedTree(const ThinDevice& source, const PlanLimits& limits, uint64_t nr_metadata_blocks,
              uint64_t most_blocks = kMostBlocks);

  // A plan of another pool, in blocks of this one: there is no source, and its nodes are not here.
  PlannedTree(RunSource& plan, const PlanLimits& limits, uint64_t nr_metadata_blocks,
              uint64_t most_blocks = kMostBlocks);

  // Adds a leaf of the tree, in any order; several threads may add at once.
  void add_leaf(MetadataBlock leaf, std::span<const Mapping> mappings);
  // Completes the counts after the last leaf. `tree` must be at its end.
  void finish(const LeafFinder& tree);

  const std::optional<ThinDevice>& source() const { return source_; }
  const PlanLimits& limits() const { return limits_; }
  uint64_t end_block() const { return end_block_; }  // the first that is not planned
  uint64_t planned_blocks() const { return planned_blocks_; }
  // The nodes of the tree.
  const BlockSet& nodes() const { return nodes_; }

  // False if some planned block has no bit. Then the functions below must not be used.
  bool has_all_bits() const { return planned_past_bits_ == 0; }
  bool contains(uint64_t thin_block) const {
    return thin_block < bits_ && ((word(thin_block / 64) >> (thin_block % 64)) & 1);
  }
  // Planned blocks before that one.
  uint64_t count_before(uint64_t thin_block) const;
  // Planned blocks from `first` to before `end`.
  uint64_t count(uint64_t first, uint64_t end) const {
    return first < end ? count_before(end) - count_before(first) : 0;
  }
  // Planned blocks below a node of the tree.
  uint64_t count_below(MetadataBlock node) const { return below_[node.value()]; }

 private:
  uint64_t& word(uint64_t number) const {
    return reinterpret_cast<uint64_t*>(memory_.data())[number];
  }
  void add_run(const Run& run);
  void count_bits();

  const std::optional<ThinDevice> source_;
  const PlanLimits limits_;
  const uint64_t end_block_;
  const uint64_t bits_;
  Buffer memory_;                 // the bits
  std::vector<uint32_t> counts_;  // of the bits before every 8th word
  std::vector<uint32_t> below_;   // by metadata block
  std::atomic<uint64_t> planned_blocks_{0};
  std::atomic<uint64_t> planned_past_bits_{0};
  BlockSet nodes_{0};
};

}  // namespace extmerge
