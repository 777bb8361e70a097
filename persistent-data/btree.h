// SPDX-License-Identifier: GPL-3.0-or-later
//
// Walking a B-tree of the pool metadata, whatever its values are. Untrusted
// trees may have cycles, leaves at odd depths, subtrees referred to twice (each
// doubling the work) and pointers out of the device; all of that ends here.
//
// Method: depth first, one level's children in memory at a time. The children of
// a node are read together, once the first of them has turned out to be an inner
// node; leaves are left to the caller, who can then read many at once. Which
// nodes are leaves is known without reading them from the second on: the
// kernel's trees have all leaves at one depth, and the first way down tells it.
// Memory: at most 1 MiB per level and a bit per metadata block.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "persistent-data/metadata_reader.h"
#include "persistent-data/node.h"

namespace extmerge {

// 16 levels of at least 2 children each would exceed what the kernel builds
// from the largest metadata device by far.
inline constexpr unsigned kMaxTreeDepth = 16;

class LeafFinder {
 public:
  // `reader`, `skip` and `skipped` must outlive the finder. Subtrees whose block
  // is in `skip` are left out and, if `skipped` is set, marked there.
  LeafFinder(MetadataReader& reader, MetadataBlock root, uint32_t leaf_value_size,
             const BlockSet* skip = nullptr, BlockSet* skipped = nullptr);

  // The next leaf in order of keys: where it is and what check_node() must ask of
  // it. Nothing at the end. Throws kMetadataDamaged, kReadFailed.
  std::optional<NodeExpectation> next();

  // The blocks reached so far, inner nodes, leaves and what was left out.
  const BlockSet& visited() const { return visited_; }

  // An inner node and the keys that lie below it.
  struct InnerNode {
    MetadataBlock block;
    uint64_t first_key = 0;
    uint64_t end_key = 0;  // not included
  };
  // Those read so far: one for 126 leaves or more.
  const std::vector<InnerNode>& inner_nodes() const { return inner_nodes_; }

 private:
  struct Level {
    std::vector<NodeExpectation> children;
    size_t next = 0;
    bool is_read = false;  // the children are in blocks_
  };

  std::optional<NodeExpectation> next_child();
  bool left_out(MetadataBlock block);
  // Reads an inner node and goes on with its children; false if `place` is a leaf.
  bool descend(NodeExpectation& place);
  // The block of the child that was come to last, read with those behind it.
  std::span<const std::byte> read_inner_node();
  void push_children(const Node& node, const NodeExpectation& parent);

  MetadataReader& reader_;
  const BlockSet* skip_;
  BlockSet* skipped_;
  BlockSet visited_;
  std::vector<InnerNode> inner_nodes_;
  std::vector<std::vector<std::byte>> blocks_;  // of each level's children, used again
  std::vector<Level> levels_;  // the root's place, then the children of each node on the way down
  std::optional<size_t> leaf_depth_;
  // The deepest inner node met. Matters while no leaf was met: a level with an
  // inner node whose children were all left out has no leaves.
  size_t deepest_inner_ = 0;
};

// The entry of `key`: a direct descent. `index` belongs to `node`, which is
// valid until the reader is used again. Nothing if the key is absent. Throws as LeafFinder.
struct TreeEntry {
  Node node;
  uint32_t index = 0;
};
std::optional<TreeEntry> find_entry(MetadataReader& reader, MetadataBlock root,
                                    uint32_t leaf_value_size, uint64_t key);

}  // namespace extmerge
