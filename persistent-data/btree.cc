// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/btree.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace extmerge {
namespace {

NodeExpectation root_place(const MetadataReader& reader, MetadataBlock root,
                           uint32_t leaf_value_size) {
  NodeExpectation place;
  place.location = root;
  place.leaf_value_size = leaf_value_size;
  place.is_root = true;
  place.device = reader.device().name();
  return place;
}

// A child's keys run from its parent's key for it to the parent's next key.
NodeExpectation child_place(const Node& node, uint32_t i, const NodeExpectation& parent) {
  NodeExpectation place;
  place.location = node.child(i);
  place.leaf_value_size = parent.leaf_value_size;
  place.first_key = node.key(i);
  place.end_key = i + 1 < node.size() ? node.key(i + 1) : parent.end_key;
  place.device = parent.device;
  return place;
}

void check_location(const NodeExpectation& place, uint64_t nr_blocks) {
  if (place.location.value() == 0 || place.location.value() >= nr_blocks)
    throw damaged(place.location,
                  "a tree refers to it as a node, which can only be from block 1 to " +
                      std::to_string(nr_blocks - 1),
                  place.device);
}

Error too_deep(const NodeExpectation& place) {
  return damaged(place.location,
                 "the tree is deeper than " + std::to_string(kMaxTreeDepth) + " levels",
                 place.device);
}

// How many keys of the node are `key` or less.
uint32_t keys_up_to(const Node& node, uint64_t key) {
  uint32_t low = 0;
  uint32_t high = node.size();
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (node.key(middle) <= key)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

}  // namespace

LeafFinder::LeafFinder(MetadataReader& reader, MetadataBlock root, uint32_t leaf_value_size,
                       const BlockSet* skip, BlockSet* skipped)
    : reader_(reader), skip_(skip), skipped_(skipped), visited_(reader.nr_blocks()) {
  levels_.push_back({{root_place(reader, root, leaf_value_size)}, 0, false});
}

std::optional<NodeExpectation> LeafFinder::next() {
  while (std::optional<NodeExpectation> place = next_child()) {
    check_location(*place, reader_.nr_blocks());
    if (!visited_.insert(place->location))
      throw damaged(place->location, "the tree refers to it twice", place->device);
    if (!left_out(place->location) && !descend(*place)) return place;
  }
  return std::nullopt;
}

std::optional<NodeExpectation> LeafFinder::next_child() {
  while (!levels_.empty() && levels_.back().next == levels_.back().children.size())
    levels_.pop_back();
  if (levels_.empty()) return std::nullopt;
  return levels_.back().children[levels_.back().next++];
}

bool LeafFinder::left_out(MetadataBlock block) {
  if (!skip_ || !skip_->contains(block)) return false;
  if (skipped_) skipped_->insert(block);
  return true;
}

bool LeafFinder::descend(NodeExpectation& place) {
  const size_t depth = levels_.size();  // 1 for the root
  if (depth == leaf_depth_) {
    place.must_be_leaf = true;
    return false;
  }
  if (depth > kMaxTreeDepth) throw too_deep(place);
  place.must_be_internal = leaf_depth_.has_value() || depth <= deepest_inner_;
  const Node node =
      check_node(place.must_be_internal ? read_inner_node() : reader_.read(place.location), place);
  if (node.is_leaf()) {
    leaf_depth_ = depth;
    place.must_be_leaf = true;
    return false;
  }
  deepest_inner_ = std::max(deepest_inner_, depth);
  inner_nodes_.push_back({place.location, place.first_key, place.end_key});
  push_children(node, place);
  return true;
}

std::span<const std::byte> LeafFinder::read_inner_node() {
  Level& level = levels_.back();
  const size_t current = level.next - 1;
  if (blocks_.size() < levels_.size()) blocks_.resize(levels_.size());
  std::vector<std::byte>& blocks = blocks_[levels_.size() - 1];
  if (!level.is_read) {
    level.is_read = true;
    std::vector<MetadataBlock> wanted;
    std::vector<size_t> children;
    for (size_t i = current; i < level.children.size(); ++i) {
      const MetadataBlock block = level.children[i].location;
      // A block number past the device's end is damage. The walk reports it when it reads that
      // block.
      if (block.value() >= reader_.nr_blocks() || (skip_ && skip_->contains(block))) continue;
      wanted.push_back(block);
      children.push_back(i);
    }
    blocks.resize(level.children.size() * kMetadataBlockSize);
    reader_.sweep(wanted, [&](unsigned, size_t index, std::span<const std::byte> block) {
      std::memcpy(blocks.data() + children[index] * kMetadataBlockSize, block.data(),
                  kMetadataBlockSize);
    });
  }
  return std::span(blocks).subspan(current * kMetadataBlockSize, kMetadataBlockSize);
}

void LeafFinder::push_children(const Node& node, const NodeExpectation& parent) {
  Level level;
  level.children.reserve(node.size());
  for (uint32_t i = 0; i < node.size(); ++i) level.children.push_back(child_place(node, i, parent));
  levels_.push_back(std::move(level));
}

std::optional<TreeEntry> find_entry(MetadataReader& reader, MetadataBlock root,
                                    uint32_t leaf_value_size, uint64_t key) {
  NodeExpectation place = root_place(reader, root, leaf_value_size);
  for (unsigned depth = 1; depth <= kMaxTreeDepth; ++depth) {
    check_location(place, reader.nr_blocks());
    const Node node = check_node(reader.read(place.location), place);
    const uint32_t up_to = keys_up_to(node, key);
    if (up_to == 0) return std::nullopt;
    const uint32_t i = up_to - 1;
    if (!node.is_leaf()) {
      place = child_place(node, i, place);
      continue;
    }
    if (node.key(i) != key) return std::nullopt;
    return TreeEntry{node, i};
  }
  throw too_deep(place);
}

}  // namespace extmerge
