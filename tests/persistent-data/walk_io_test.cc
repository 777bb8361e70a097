// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reads of a walk: batches with joined neighbours, no request left in flight, memory that does not
// grow with the tree.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "persistent-data/devices.h"
#include "tests/persistent-data/failures.h"
#include "tests/persistent-data/walks.h"
#include "tests/support/memory_device.h"
#include "tests/support/synthetic_tree.h"

namespace extmerge {
namespace {

constexpr size_t kBatch = 256;

uint64_t bytes_in_memory() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "VmRSS:") {
      uint64_t kib = 0;
      status >> kib;
      return kib * 1024;
    }
  return 0;
}

TEST(AWalk, JoinsNeighbouringLeavesIntoRequestsOfOneBatch) {
  for (const bool downwards : {false, true}) {
    MetadataBuilder pool(2048);
    if (downwards) pool.place_downwards_from(2000);
    const BuiltTree tree = pool.add_tree(some_mappings(600), {.leaf_fill = 1});
    MemoryDevice device(pool.image());
    std::vector<size_t> requests;
    device.on_request([&](IoRequest& request) { requests.push_back(request.memory.size()); });
    MetadataReader reader(device);
    EXPECT_EQ(walk_tree(reader, tree.root()).size(), 600u);
    std::erase(requests, kMetadataBlockSize);  // single nodes
    std::sort(requests.begin(), requests.end());
    EXPECT_EQ(requests,
              (std::vector<size_t>{2 * kMetadataBlockSize,  // inner nodes
                                   (600 - 2 * kBatch) * kMetadataBlockSize,
                                   kBatch * kMetadataBlockSize, kBatch * kMetadataBlockSize}));
  }
}

TEST(AWalk, ReadsLeavesThatLieApartOneByOne) {
  MetadataBuilder pool;
  std::vector<std::pair<uint64_t, uint64_t>> children;
  for (uint64_t i = 0; i < 100; ++i) {
    pool.place_upwards_from(10 + (i * 37 % 100) * 2);  // every second block, in disorder
    children.emplace_back(i, pool.add_leaf({{i, 500 + i}}));
  }
  pool.place_upwards_from(500);
  const uint64_t root = pool.add_inner_node(children);
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  const ThinAndData all = walk_tree(reader, root);
  ASSERT_EQ(all.size(), 100u);
  EXPECT_EQ(all[42], (std::pair<uint64_t, uint64_t>(42, 542)));
  EXPECT_EQ(device.reads(), 1 + 1 + 100u);  // the root, the first leaf for the depth, the leaves
}

TEST(AWalk, HasOneBatchInFlightWhileItDeliversTheOneBefore) {
  MetadataBuilder pool(2048);
  const BuiltTree tree = pool.add_tree(some_mappings(1000), {.leaf_fill = 1});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  MappingWalk walk(reader, MetadataBlock(tree.root()), {});
  ASSERT_FALSE(walk.next().empty());
  EXPECT_EQ(device.in_flight(), 1u);
  all_of(walk);
  EXPECT_EQ(device.in_flight(), 0u);
}

TEST(AWalk, LeavesNothingInFlightWhenItIsGivenUp) {
  MetadataBuilder pool(2048);
  const BuiltTree tree = pool.add_tree(some_mappings(1000), {.leaf_fill = 1});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  {
    MappingWalk walk(reader, MetadataBlock(tree.root()), {});
    walk.next();
    ASSERT_EQ(device.in_flight(), 1u);
  }
  EXPECT_EQ(device.in_flight(), 0u);
}

TEST(AWalk, ThatFailsAtAnyReadSaysWhereAndLeavesNothingInFlight) {
  MetadataBuilder pool(2048);
  const BuiltTree tree = pool.add_tree(some_mappings(1000), {.leaf_fill = 1, .inner_fill = 10});
  MemoryDevice sound(pool.image());
  MetadataReader sound_reader(sound);
  walk_tree(sound_reader, tree.root());
  ASSERT_GE(sound.reads(), 15u);

  for (uint64_t failing = 1; failing <= sound.reads(); ++failing) {
    MemoryDevice device(pool.image());
    Bytes offset;
    device.on_request([&](IoRequest& request) {
      if (device.reads() != failing) return;
      request.result = -EIO;
      offset = request.offset;
    });
    MetadataReader reader(device);
    const std::string failure = failure_of([&] { walk_tree(reader, tree.root()); });
    EXPECT_TRUE(failure.starts_with("EXM-701")) << failing << ": " << failure;
    EXPECT_NE(failure.find(std::to_string(offset.value())), std::string::npos) << failure;
    EXPECT_EQ(device.in_flight(), 0u) << failing;
  }
}

TEST(AWalk, FinishesReadsThatCameBackShort) {
  MetadataBuilder pool(2048);
  const auto mappings = some_mappings(1000);
  const BuiltTree tree = pool.add_tree(mappings, {.leaf_fill = 1});
  MemoryDevice device(pool.image());
  device.on_request([&](IoRequest& request) {
    if (request.memory.size() <= 8 * kMetadataBlockSize) return;
    // Transfer only half, as after a signal.
    const size_t half = request.memory.size() / 2 / kMetadataBlockSize * kMetadataBlockSize;
    std::copy_n(device.contents().begin() + static_cast<int64_t>(request.offset.value()), half,
                request.memory.begin());
    request.result = static_cast<int64_t>(half);
  });
  MetadataReader reader(device);
  EXPECT_EQ(walk_tree(reader, tree.root()), expected_of(mappings));
}

TEST(AThousandWalks, ShareTwoQueuesForTheirLeaves) {
  MetadataBuilder pool;
  const BuiltTree tree = pool.add_tree(some_mappings(100), {.leaf_fill = 10});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(walk_tree(reader, tree.root()).size(), 100u);
  EXPECT_EQ(device.queues_made(), 3u);  // one is for single blocks
}

class AWalkOfMillions : public testing::TestWithParam<LeafPlacement> {};

TEST_P(AWalkOfMillions, NeedsNoMoreMemoryThanItsBatches) {
  SyntheticTree device(5'000'000, GetParam());
  MetadataReader reader(device);
  const auto thin = find_device(reader, reader.live_superblock(), ThinId(SyntheticTree::kThinId));
  ASSERT_TRUE(thin);
  EXPECT_EQ(thin->mapped_blocks, 5'000'000u);

  MappingWalk walk(reader, thin->mapping_root, {.end_of_data = DataBlock(5'000'000)});
  uint64_t thin_block = 0;
  uint64_t wrong = 0;
  uint64_t most = 0;
  const uint64_t before = bytes_in_memory();
  for (auto batch = walk.next(); !batch.empty(); batch = walk.next()) {
    for (const Mapping& mapping : batch) {
      wrong += mapping.thin != ThinBlock(thin_block) ||
               mapping.data != DataBlock(5'000'000 - 1 - thin_block);
      ++thin_block;
    }
    if (thin_block % (252 * 100) == 0) most = std::max(most, bytes_in_memory());
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(walk.delivered(), 5'000'000u);
  ASSERT_GT(most, 0u);
  // Two batches are 2 MiB, the inner nodes of a level 1 MiB, and reading those takes up to
  // 4 MiB; the tree is 79 MiB, its mappings 80.
  EXPECT_LT(most, before + (16 << 20));
}

INSTANTIATE_TEST_SUITE_P(Leaves, AWalkOfMillions,
                         testing::Values(LeafPlacement::kOrdered, LeafPlacement::kShuffled),
                         [](const auto& placement) {
                           return placement.param == LeafPlacement::kOrdered ? "InOrder"
                                                                             : "Shuffled";
                         });

}  // namespace
}  // namespace extmerge
