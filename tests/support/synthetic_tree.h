// SPDX-License-Identifier: GPL-3.0-or-later
//
// Pool metadata too large to store: one thin device (id 1) with hundreds of millions of mappings.
// Each node, with its checksum, is computed when it is read. Tests measure the memory and time of a
// walk with it.
//
// Thin block i is mapped to data block mappings - 1 - i, so that no two
// neighbours form a run. Layout: superblock in block 0, the two trees of
// devices in 1 and 2, then the mapping tree level by level from its root on.
// Shuffled, leaf i lies at place (i * step) mod leaves with a step prime to
// the number of leaves: far from its neighbours, and computable both ways.
//
// Threads: one for each queue.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/block_device.h"
#include "persistent-data/disk_format.h"

namespace extmerge {

enum class LeafPlacement { kOrdered, kShuffled };

class SyntheticTree : public BlockDevice {
 public:
  SyntheticTree(uint64_t mappings, LeafPlacement placement);

  uint64_t nr_blocks() const { return nr_blocks_; }
  uint64_t mappings() const { return mappings_; }
  static constexpr uint32_t kThinId = 1;

  // Writes block `number` into `memory`, 4096 bytes.
  void make_block(uint64_t number, std::byte* memory) const;

  const std::string& name() const override { return name_; }
  Bytes size() const override { return Bytes(nr_blocks_ * kMetadataBlockSize); }
  Bytes logical_block_size() const override { return Bytes(kMetadataBlockSize); }
  // Requests for anything but whole blocks inside the device fail with EINVAL.
  std::unique_ptr<AsyncQueue> make_queue(unsigned depth) override;
  int flush() override { return 0; }
  void resize(Bytes) override;
  void drop_cache() override {}

 private:
  class Queue;
  struct Level {
    uint64_t first_block = 0;
    uint64_t nodes = 0;
    uint64_t span = 0;  // thin blocks under one node
  };
  void make_superblock(std::byte* memory) const;
  void make_device_tree(uint64_t number, std::byte* memory) const;
  void make_tree_node(uint64_t number, std::byte* memory) const;
  uint64_t place_of_leaf(uint64_t leaf) const;
  uint64_t leaf_at_place(uint64_t place) const;

  const std::string name_ = "synthetic";
  const uint64_t mappings_;
  std::vector<Level> levels_;  // the root first
  uint64_t nr_blocks_ = 0;
  uint64_t step_ = 1;     // leaf to place
  uint64_t inverse_ = 1;  // and back
};

}  // namespace extmerge
