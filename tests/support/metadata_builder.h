// SPDX-License-Identifier: GPL-3.0-or-later
//
// Writes valid pool metadata of any shape into memory. The role of every block is known, so that a
// test can damage a single field. There are no space maps, because extmerge does not read them.
//
//   MetadataBuilder pool;
//   const auto tree = pool.add_tree({{0, 10}, {1, 11}}, {.leaf_fill = 1});
//   pool.add_device(1, tree);
//   pool.finish();
//   MemoryDevice device(pool.image());

#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "merge/journal/record.h"  // before kBlock: g++ says that RootChoice::kBlock shadows it
#include "persistent-data/disk_format.h"

namespace extmerge {

// The data block size of nearly every pool in these tests.
inline constexpr uint64_t kBlock = 65536;

struct BuiltMapping {
  uint64_t thin = 0;
  uint64_t data = 0;
  uint32_t time = 0;
};

struct TreeShape {
  uint32_t leaf_fill = 252;   // entries of a leaf, the last perhaps fewer
  uint32_t inner_fill = 252;  // children of an inner node, the last perhaps fewer
  // The least number of levels. Inner nodes with one child are added on top, but not over an empty
  // leaf.
  unsigned min_levels = 1;
};

// The blocks of a tree: levels.front() is the root alone, levels.back() the
// leaves in order of keys.
struct BuiltTree {
  std::vector<std::vector<uint64_t>> levels;
  uint64_t entries = 0;

  uint64_t root() const { return levels.front().front(); }
  const std::vector<uint64_t>& leaves() const { return levels.back(); }
};

class MetadataBuilder {
 public:
  // An image of `blocks` metadata blocks; `data_block_sectors` is the pool's block size.
  explicit MetadataBuilder(uint64_t blocks = 1024, uint32_t data_block_sectors = 128);

  // Sets the places of the following nodes: rising from `block` (by default from block 1), or
  // falling from `block`, so that neighbouring leaves lie in falling order.
  void place_upwards_from(uint64_t block);
  void place_downwards_from(uint64_t block);

  // Adds a mapping tree, in order of thin block. Without mappings it is an empty leaf.
  BuiltTree add_tree(const std::vector<BuiltMapping>& mappings, const TreeShape& shape = {});

  // Single nodes, to build trees from parts of others. Keys as given.
  uint64_t add_leaf(const std::vector<BuiltMapping>& mappings);
  uint64_t add_inner_node(const std::vector<std::pair<uint64_t, uint64_t>>& key_and_child);

  // Adds a device. Its entry in either of the two trees of devices can be left out.
  void add_device(uint32_t id, const BuiltTree& tree);
  void add_mapping_root(uint64_t id, uint64_t root);
  void add_details(uint64_t id, uint64_t mapped_blocks, uint64_t transaction_id = 7,
                   uint32_t creation_time = 3, uint32_t snapshotted_time = 5);
  void shape_device_trees(const TreeShape& shape) { device_shape_ = shape; }

  // Writes the trees of devices and the superblocks. The held one is a copy of
  // the live one with its space map roots wiped, as the kernel makes it.
  void finish(bool hold = true);

  // Known after finish().
  const BuiltTree& mapping_roots() const { return mapping_roots_; }
  const BuiltTree& details() const { return details_; }
  uint64_t held_root() const { return held_root_; }

  // Fields of any block, for tests that damage them. After a change, fix_checksum() corrects the
  // block's checksum according to its role.
  std::byte* block(uint64_t number);
  DiskSuperblock& superblock(uint64_t number = 0);
  DiskNodeHeader& header(uint64_t number);
  le64& key(uint64_t number, uint32_t i);
  le64& value(uint64_t number, uint32_t i);
  void fix_checksum(uint64_t number);

  const std::vector<std::byte>& image() const { return image_; }

 private:
  struct Entry {
    uint64_t key = 0;
    std::vector<unsigned char> value;
  };
  BuiltTree add_entries(const std::vector<Entry>& entries, uint32_t value_size,
                        const TreeShape& shape);
  uint64_t add_node(uint32_t flags, uint32_t value_size, const Entry* entries, size_t count);
  uint64_t allocate();

  std::vector<std::byte> image_;
  uint32_t data_block_sectors_;
  uint64_t next_block_ = 1;
  bool downwards_ = false;
  TreeShape device_shape_;
  std::vector<Entry> mapping_root_entries_;
  std::vector<Entry> details_entries_;
  BuiltTree mapping_roots_;
  BuiltTree details_;
  uint64_t held_root_ = 0;
};

}  // namespace extmerge
