// SPDX-License-Identifier: GPL-3.0-or-later
//
// Walks a B-tree of the pool metadata with values of any type. An untrusted tree may have cycles,
// leaves at different depths, shared subtrees (each doubles the work) and pointers out of the
// device. The walk detects all of these.
//
// Method: depth first, with the children of one node per level in memory. The children of a node
// are read together once the first one proves to be an inner node. The caller reads the leaves,
// many at once. All leaves of a tree lie at one depth, which the first descent shows. So the walk
// knows later leaves without reading them. Memory: at most 1 MiB per level and a bit per metadata
// block.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "persistent-data/metadata_reader.h"
#include "persistent-data/node.h"

namespace extmerge {

// 16 levels of at least 2 children are far more than the kernel builds on the largest metadata
// device.
inline constexpr unsigned kMaxTreeDepth = 16;

class LeafFinder {
 public:
  // `reader`, `skip` and `skipped` must outlive the finder. The walk leaves out subtrees whose
  // block is in `skip`, and marks them in `skipped` if that is set.
  LeafFinder(MetadataReader& reader, MetadataBlock root, uint32_t leaf_value_size,
             const BlockSet* skip = nullptr, BlockSet* skipped = nullptr);

  // The next leaf in order of keys: its place and the conditions for check_node(). Nothing at the
  // end. Throws kMetadataDamaged, kReadFailed.
  std::optional<NodeExpectation> next();

  // The blocks reached so far: inner nodes, leaves, and roots of skipped subtrees.
  const BlockSet& visited() const { return visited_; }

  // An inner node and the keys that lie below it.
  struct InnerNode {
    MetadataBlock block;
    uint64_t first_key = 0;
    uint64_t end_key = 0;  // not included
  };
  // The inner nodes read so far: one for 126 leaves or more.
  const std::vector<InnerNode>& inner_nodes() const { return inner_nodes_; }

 private:
  struct Level {
    std::vector<NodeExpectation> children;
    size_t next = 0;
    bool is_read = false;  // the children are in blocks_
  };

  std::optional<NodeExpectation> next_child();
  bool left_out(MetadataBlock block);
  // Reads an inner node and descends to its children; false if `place` is a leaf.
  bool descend(NodeExpectation& place);
  // The block of the current child. The next children are read together with it.
  std::span<const std::byte> read_inner_node();
  void push_children(const Node& node, const NodeExpectation& parent);

  MetadataReader& reader_;
  const BlockSet* skip_;
  BlockSet* skipped_;
  BlockSet visited_;
  std::vector<InnerNode> inner_nodes_;
  std::vector<std::vector<std::byte>> blocks_;  // of each level's children, reused
  std::vector<Level> levels_;  // the root's place, then the children of each node on the way down
  std::optional<size_t> leaf_depth_;
  // The deepest inner node so far. It matters until the first leaf: a level with an inner node has
  // no leaves, even if all its children were skipped.
  size_t deepest_inner_ = 0;
};

// The entry of `key`, found by a direct descent. `node` is valid until the next use of the reader;
// `index` is the entry's place in it. Nothing if the key is absent. Throws as LeafFinder does.
struct TreeEntry {
  Node node;
  uint32_t index = 0;
};
std::optional<TreeEntry> find_entry(MetadataReader& reader, MetadataBlock root,
                                    uint32_t leaf_value_size, uint64_t key);

}  // namespace extmerge
