// SPDX-License-Identifier: GPL-3.0-or-later
//
// A checked B-tree node. All code reads only nodes that have passed check_node(), so it need not
// check counts and keys again. check_node() detects damaged or hostile metadata, with exit status 9
// and the block's number.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "io/error.h"
#include "persistent-data/disk_format.h"

namespace extmerge {

// The conditions that a node must meet because of its place in the tree.
struct NodeExpectation {
  MetadataBlock location;
  bool must_be_leaf = false;      // at a known depth one of the two is set;
  bool must_be_internal = false;  // both false: either
  uint32_t leaf_value_size = 8;   // 8 for mappings and roots, 24 for device details
  uint64_t first_key = 0;         // the parent's key for this child (0 for a root)
  uint64_t end_key = UINT64_MAX;  // the parent's next key, not included
  bool is_root = false;           // only a root may be empty
  std::string_view device = {};   // named in messages
};

// A view of a checked node; the bytes must outlive it.
class Node {
 public:
  bool is_leaf() const { return leaf_; }
  uint32_t size() const { return nr_entries_; }
  uint64_t key(uint32_t i) const { return word(keys_, i); }
  uint64_t value64(uint32_t i) const { return word(values_, i); }  // value_size 8
  DiskDeviceDetails details(uint32_t i) const;
  MetadataBlock child(uint32_t i) const { return MetadataBlock(value64(i)); }

 private:
  friend Node check_node(std::span<const std::byte>, const NodeExpectation&);
  // Called for every mapping of a pool, so defined here for inlining.
  static uint64_t word(const std::byte* array, uint32_t i) {
    return load<le64>(array + sizeof(le64) * i).get();
  }
  const std::byte* keys_ = nullptr;
  const std::byte* values_ = nullptr;
  uint32_t nr_entries_ = 0;
  bool leaf_ = false;
};

// `block` has 4096 bytes, read from expectation.location. Throws Error(kMetadataDamaged) with the
// block and the first fault: checksum, own block number, flags (exactly one of the two), value size
// (8 in internal nodes), max_entries (not 0, multiple of 3, fits the block), nr_entries, keys
// strictly rising and inside the parent's range.
Node check_node(std::span<const std::byte> block, const NodeExpectation& expectation);

// The correct checksum for a node's other bytes.
uint32_t node_checksum(std::span<const std::byte> block);

// Error(kMetadataDamaged) for `block`: "metadata block 57 of DEVICE: WHAT".
Error damaged(MetadataBlock block, const std::string& what, std::string_view device = {});

}  // namespace extmerge
