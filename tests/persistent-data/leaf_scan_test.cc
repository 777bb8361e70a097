// SPDX-License-Identifier: GPL-3.0-or-later
//
// LeafScan finds the same mappings and refusals as MappingWalk, for all shapes of trees and places
// of leaves. Windows are tested, too.

#include "persistent-data/leaf_scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "persistent-data/devices.h"
#include "tests/persistent-data/failures.h"
#include "tests/persistent-data/walks.h"
#include "tests/support/memory_device.h"
#include "tests/support/synthetic_tree.h"

namespace extmerge {
namespace {

ThinAndData scan_tree(MetadataReader& reader, uint64_t root, DataBlock end = DataBlock(1 << 20)) {
  std::mutex lock;
  ThinAndData all;
  LeafScan scan(reader, MetadataBlock(root), end);
  while (const size_t leaves = scan.next_window()) {
    std::vector<ThinAndData> by_leaf(leaves);
    scan.visit_window([&](unsigned, size_t leaf, std::span<const Mapping> mappings) {
      const std::lock_guard guard(lock);
      for (const Mapping& mapping : mappings)
        by_leaf.at(leaf).emplace_back(mapping.thin.value(), mapping.data.value());
    });
    for (const ThinAndData& part : by_leaf) all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

TEST(ALeafScan, DeliversAllMappingsOfTreesOfAnyShape) {
  for (const uint64_t count : {0u, 1u, 2u, 252u, 253u, 5000u}) {
    for (const uint32_t inner_fill : {3u, 252u}) {
      for (const bool downwards : {false, true}) {
        MetadataBuilder pool(16384);
        if (downwards) pool.place_downwards_from(16000);
        const auto mappings = some_mappings(count);
        const BuiltTree tree = pool.add_tree(mappings, {.leaf_fill = 7, .inner_fill = inner_fill});
        MemoryDevice device(pool.image());
        MetadataReader reader(device);
        EXPECT_EQ(scan_tree(reader, tree.root()), expected_of(mappings)) << count;
      }
    }
  }
}

TEST(ALeafScan, RefusesWhatAWalkRefuses) {
  const auto mappings = some_mappings(3000);
  MetadataBuilder pool(4096);
  const BuiltTree tree = pool.add_tree(mappings, {.leaf_fill = 3, .inner_fill = 30});
  std::vector<uint64_t> nodes;
  for (const auto& level : tree.levels) nodes.insert(nodes.end(), level.begin(), level.end());
  for (size_t i = 0; i < nodes.size(); i += 37) {
    MemoryDevice device(pool.image());
    device.contents()[nodes[i] * kMetadataBlockSize + 100] ^= std::byte{1};
    MetadataReader reader(device);
    const std::string scanned = failure_of([&] { scan_tree(reader, tree.root()); });
    EXPECT_EQ(scanned, failure_of([&] { walk_tree(reader, tree.root()); }));
    EXPECT_NE(scanned.find("metadata block " + std::to_string(nodes[i]) + " "), std::string::npos)
        << scanned;
  }
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  const DataBlock end(2000);  // some lie past it
  EXPECT_TRUE(failure_of([&] { scan_tree(reader, tree.root(), end); }).starts_with("EXM-901"));
}

TEST(ALeafScan, GoesOnFromWindowToWindow) {
  constexpr uint64_t kMappings = (LeafScan::kWindow + 1000) * 252;
  SyntheticTree device(kMappings, LeafPlacement::kShuffled);
  MetadataReader reader(device);
  const auto thin = find_device(reader, reader.live_superblock(), ThinId(SyntheticTree::kThinId));
  LeafScan scan(reader, thin->mapping_root, DataBlock(kMappings));
  EXPECT_EQ(scan.next_window(), LeafScan::kWindow);
  // Do not visit the window: reading half a million leaves takes long.
  EXPECT_EQ(scan.next_window(), 1000u);
  std::atomic<uint64_t> wrong = 0, delivered = 0;
  scan.visit_window([&](unsigned, size_t leaf, std::span<const Mapping> mappings) {
    const uint64_t first = (LeafScan::kWindow + leaf) * 252;
    for (size_t i = 0; i < mappings.size(); ++i)
      wrong += mappings[i].thin != ThinBlock(first + i) ||
               mappings[i].data != DataBlock(kMappings - 1 - first - i);
    delivered += mappings.size();
  });
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(delivered, 252'000u);
  EXPECT_EQ(scan.next_window(), 0u);
}

}  // namespace
}  // namespace extmerge
