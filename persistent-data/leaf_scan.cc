// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/leaf_scan.h"

namespace extmerge {

LeafScan::LeafScan(MetadataReader& reader, MetadataBlock root, DataBlock end_of_data)
    : reader_(reader),
      root_(root),
      end_of_data_(end_of_data),
      finder_(reader, root, sizeof(le64)) {}

size_t LeafScan::next_window() {
  blocks_.clear();
  keys_.clear();
  while (blocks_.size() < kWindow) {
    const std::optional<NodeExpectation> leaf = finder_.next();
    if (!leaf) break;
    blocks_.push_back(leaf->location);
    keys_.push_back({leaf->first_key, leaf->end_key});
  }
  return blocks_.size();
}

void LeafScan::visit_window(const Visit& visit) {
  reader_.sweep(blocks_, [&](unsigned worker, size_t index, std::span<const std::byte> block) {
    NodeExpectation leaf;
    leaf.location = blocks_[index];
    leaf.must_be_leaf = true;
    leaf.first_key = keys_[index].first;
    leaf.end_key = keys_[index].end;
    leaf.is_root = leaf.location == root_;
    leaf.device = reader_.device().name();
    decode_leaf(block, leaf, end_of_data_, mappings_[worker]);
    visit(worker, index, mappings_[worker]);
  });
}

}  // namespace extmerge
