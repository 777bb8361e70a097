// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/mapping_time.h"

#include <atomic>
#include <vector>

#include "persistent-data/leaf_scan.h"

namespace extmerge {

bool all_mapped_before(MetadataReader& reader, MetadataBlock root, uint32_t time) {
  constexpr uint32_t kEndOfTimes = uint32_t{1} << 24;
  if (time >= kEndOfTimes) return false;
  LeafFinder finder(reader, root, sizeof(le64));
  std::vector<NodeExpectation> leaves;
  std::vector<MetadataBlock> places;
  std::atomic<bool> all_older = true;
  const auto look = [&](unsigned, size_t index, std::span<const std::byte> block) {
    const Node node = check_node(block, leaves[index]);
    for (uint32_t i = 0; i < node.size(); ++i) {
      if (unpack_time(node.value64(i)) >= time) all_older = false;
    }
  };
  do {
    leaves.clear();
    places.clear();
    while (leaves.size() < LeafScan::kWindow) {
      const auto leaf = finder.next();
      if (!leaf) break;
      leaves.push_back(*leaf);
      places.push_back(leaf->location);
    }
    reader.sweep(places, look);
  } while (all_older && !leaves.empty());
  return all_older;
}

}  // namespace extmerge
