// SPDX-License-Identifier: GPL-3.0-or-later
//
// Sound trees of all shapes, walked in full and in part.

#include "persistent-data/mapping_walk.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "tests/persistent-data/failures.h"
#include "tests/persistent-data/walks.h"
#include "tests/support/memory_device.h"

namespace extmerge {
namespace {

TEST(MappingWalk, OfAnEmptyDeviceEndsAtOnce) {
  MetadataBuilder pool;
  const BuiltTree tree = pool.add_tree({});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  MappingWalk walk(reader, MetadataBlock(tree.root()), {});
  EXPECT_TRUE(walk.next().empty());
  EXPECT_TRUE(walk.next().empty());
  EXPECT_EQ(walk.delivered(), 0u);
}

TEST(MappingWalk, DeliversOneMapping) {
  MetadataBuilder pool;
  const BuiltTree tree = pool.add_tree({{12345678901, (uint64_t{1} << 40) - 1, (1 << 24) - 1}});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  EXPECT_EQ(walk_tree(reader, tree.root()), (ThinAndData{{12345678901, (uint64_t{1} << 40) - 1}}));
}

TEST(MappingWalk, DeliversFullNodesOfThreeLevels) {
  MetadataBuilder pool(4096);
  const auto mappings = some_mappings(252 * 252 + 1);
  const BuiltTree tree = pool.add_tree(mappings);
  ASSERT_EQ(tree.levels.size(), 3u);
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  MappingWalk walk(reader, MetadataBlock(tree.root()), {});
  EXPECT_EQ(all_of(walk), expected_of(mappings));
  EXPECT_EQ(walk.delivered(), mappings.size());
}

TEST(MappingWalk, DeliversTreesOfManySmallLevels) {
  MetadataBuilder pool(4096);
  const auto mappings = some_mappings(1000);
  const BuiltTree tree = pool.add_tree(mappings, {.leaf_fill = 2, .inner_fill = 2});
  ASSERT_EQ(tree.levels.size(), 10u);
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  EXPECT_EQ(walk_tree(reader, tree.root()), expected_of(mappings));
}

TEST(MappingWalk, DeliversInOrderOfThinBlocksWhereverTheLeavesLie) {
  MetadataBuilder pool(4096);
  pool.place_downwards_from(4000);
  const auto mappings = some_mappings(2000);
  const BuiltTree tree = pool.add_tree(mappings, {.leaf_fill = 3});
  ASSERT_GT(tree.leaves().front(), tree.leaves().back());
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  EXPECT_EQ(walk_tree(reader, tree.root()), expected_of(mappings));
}

TEST(MappingWalk, DeliversAnyTreeItIsBuiltFrom) {
  const bool held = rc::check([] {
    const auto thins = *rc::gen::container<std::set<uint64_t>>(rc::gen::arbitrary<uint64_t>());
    std::vector<BuiltMapping> mappings;
    for (const uint64_t thin : thins) {
      if (thin == UINT64_MAX) continue;
      const auto data = *rc::gen::inRange<uint64_t>(0, uint64_t{1} << 40);
      mappings.push_back({thin, data, *rc::gen::inRange<uint32_t>(0, 1 << 24)});
    }
    const TreeShape shape{.leaf_fill = *rc::gen::inRange(1u, 8u),
                          .inner_fill = *rc::gen::inRange(2u, 8u),
                          .min_levels = *rc::gen::inRange(1u, 5u)};
    MetadataBuilder pool;
    if (*rc::gen::arbitrary<bool>()) pool.place_downwards_from(1000);
    const BuiltTree tree = pool.add_tree(mappings, shape);
    MemoryDevice device(pool.image());
    MetadataReader reader(device);
    RC_ASSERT(walk_tree(reader, tree.root()) == expected_of(mappings));
  });
  EXPECT_TRUE(held);
}

TEST(MappingWalk, VisitsTheBlocksOfTheTreeAndNoOther) {
  MetadataBuilder pool;
  const BuiltTree other = pool.add_tree(some_mappings(50), {.leaf_fill = 7});
  const BuiltTree tree = pool.add_tree(some_mappings(50), {.leaf_fill = 5, .inner_fill = 3});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  MappingWalk walk(reader, MetadataBlock(tree.root()), {});
  all_of(walk);
  for (const auto& level : tree.levels)
    for (const uint64_t block : level) EXPECT_TRUE(walk.visited().contains(MetadataBlock(block)));
  for (const auto& level : other.levels)
    for (const uint64_t block : level) EXPECT_FALSE(walk.visited().contains(MetadataBlock(block)));
}

TEST(MappingWalk, CanBeMovedInTheMiddle) {
  MetadataBuilder pool;
  const auto mappings = some_mappings(600);
  const BuiltTree tree = pool.add_tree(mappings, {.leaf_fill = 2});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  MappingWalk walk(reader, MetadataBlock(tree.root()), {});
  ASSERT_EQ(walk.next().size(), 2u);
  MappingWalk moved = std::move(walk);
  EXPECT_EQ(all_of(moved).size(), 598u);
  EXPECT_EQ(moved.delivered(), 600u);
}

// Two devices: the second is a snapshot of the first whose middle leaf was
// copied and changed since.
class ASnapshotAndItsOrigin : public testing::Test {
 protected:
  MetadataBuilder pool_;
  const std::vector<uint64_t> leaves_ = {pool_.add_leaf({{0, 10}, {1, 11}}),
                                         pool_.add_leaf({{5, 15}, {6, 16}}),
                                         pool_.add_leaf({{8, 18}, {9, 19}})};
  const uint64_t changed_ = pool_.add_leaf({{5, 15}, {6, 16}, {7, 27}});
  const uint64_t root_ = pool_.add_inner_node({{0, leaves_[0]}, {5, leaves_[1]}, {8, leaves_[2]}});
  const uint64_t snapshot_ =
      pool_.add_inner_node({{0, leaves_[0]}, {5, changed_}, {8, leaves_[2]}});
  MemoryDevice device_{pool_.image()};
  MetadataReader reader_{device_};

  BlockSet set_of(const std::vector<uint64_t>& blocks) const {
    BlockSet set(reader_.nr_blocks());
    for (const uint64_t block : blocks) set.insert(MetadataBlock(block));
    return set;
  }
};

TEST_F(ASnapshotAndItsOrigin, DifferOnlyInSubtreesThatAreNotShared) {
  MappingWalk origin(reader_, MetadataBlock(root_), {});
  all_of(origin);
  BlockSet skipped(reader_.nr_blocks());
  EXPECT_EQ(walk_tree(reader_, snapshot_, {.skip = &origin.visited(), .skipped = &skipped}),
            (ThinAndData{{5, 15}, {6, 16}, {7, 27}}));
  EXPECT_TRUE(skipped.contains(MetadataBlock(leaves_[0])));
  EXPECT_FALSE(skipped.contains(MetadataBlock(leaves_[1])));
  EXPECT_TRUE(skipped.contains(MetadataBlock(leaves_[2])));
  EXPECT_FALSE(skipped.contains(MetadataBlock(changed_)));
  EXPECT_FALSE(skipped.contains(MetadataBlock(snapshot_)));

  // The blocks skipped there are the shared blocks here, too.
  EXPECT_EQ(walk_tree(reader_, root_, {.skip = &skipped}), (ThinAndData{{5, 15}, {6, 16}}));
}

TEST_F(ASnapshotAndItsOrigin, WithoutASetForThemLeaveSharedSubtreesOutAllTheSame) {
  const BlockSet skip = set_of({leaves_[0], leaves_[1]});
  EXPECT_EQ(walk_tree(reader_, root_, {.skip = &skip}), (ThinAndData{{8, 18}, {9, 19}}));
}

TEST_F(ASnapshotAndItsOrigin, ReadNothingIfTheRootIsToBeLeftOut) {
  const BlockSet skip = set_of({root_});
  BlockSet skipped(reader_.nr_blocks());
  EXPECT_TRUE(walk_tree(reader_, root_, {.skip = &skip, .skipped = &skipped}).empty());
  EXPECT_TRUE(skipped.contains(MetadataBlock(root_)));
  EXPECT_EQ(device_.reads(), 0u);
}

TEST_F(ASnapshotAndItsOrigin, ReadOnlyTheRootIfAllItsChildrenAreToBeLeftOut) {
  const BlockSet skip = set_of(leaves_);
  EXPECT_TRUE(walk_tree(reader_, root_, {.skip = &skip}).empty());
  EXPECT_EQ(device_.reads(), 1u);
  EXPECT_EQ(device_.queues_made(), 1u);  // nothing for leaves
}

TEST_F(ASnapshotAndItsOrigin, AreWalkedSideBySideThroughOneReader) {
  MappingWalk first(reader_, MetadataBlock(root_), {});
  MappingWalk second(reader_, MetadataBlock(snapshot_), {});
  size_t from_first = 0, from_second = 0;
  for (int i = 0; i < 3; ++i) {
    from_first += first.next().size();
    from_second += second.next().size();
  }
  EXPECT_EQ(from_first, 6u);
  EXPECT_EQ(from_second, 7u);
  EXPECT_EQ(device_.queues_made(), 2u);
}

TEST(AWalkOfInnerNodes, ReachesAllLeavesAndReadsOnlyTheFirst) {
  MetadataBuilder pool;
  const BuiltTree tree = pool.add_tree(some_mappings(500), {.leaf_fill = 2, .inner_fill = 20});
  ASSERT_EQ(tree.levels.size(), 3u);
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  MappingWalk walk(reader, MetadataBlock(tree.root()), {.inner_nodes_only = true});
  EXPECT_TRUE(walk.next().empty());
  EXPECT_EQ(walk.delivered(), 0u);
  // The root, the way down to the first leaf, and the other inner nodes at once.
  EXPECT_EQ(device.reads(), 1 + 1 + 1 + 1u);
  EXPECT_EQ(device.bytes_read(), (1 + tree.levels[1].size() + 1) * kMetadataBlockSize);
  for (const uint64_t leaf : tree.leaves())
    EXPECT_TRUE(walk.visited().contains(MetadataBlock(leaf)));
}

TEST(AWalkOfInnerNodes, FindsTheLeavesThatAreShared) {
  MetadataBuilder pool;
  const BuiltTree tree = pool.add_tree(some_mappings(500), {.leaf_fill = 2, .inner_fill = 20});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  BlockSet skip(reader.nr_blocks());
  BlockSet skipped(reader.nr_blocks());
  skip.insert(MetadataBlock(tree.leaves().front()));
  skip.insert(MetadataBlock(tree.leaves().back()));
  skip.insert(MetadataBlock(tree.levels[1][3]));
  MappingWalk walk(reader, MetadataBlock(tree.root()),
                   {.skip = &skip, .skipped = &skipped, .inner_nodes_only = true});
  walk.next();
  EXPECT_TRUE(skipped.contains(MetadataBlock(tree.leaves().front())));
  EXPECT_TRUE(skipped.contains(MetadataBlock(tree.leaves().back())));
  EXPECT_TRUE(skipped.contains(MetadataBlock(tree.levels[1][3])));
  EXPECT_FALSE(skipped.contains(MetadataBlock(tree.leaves()[1])));
  EXPECT_FALSE(walk.visited().contains(MetadataBlock(tree.leaves()[65])));  // below levels[1][3]
}

TEST(AWalkOfInnerNodes, OfATreeThatIsOneLeafEndsAtOnce) {
  MetadataBuilder pool;
  const BuiltTree tree = pool.add_tree(some_mappings(5));
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  MappingWalk walk(reader, MetadataBlock(tree.root()), {.inner_nodes_only = true});
  EXPECT_TRUE(walk.next().empty());
  EXPECT_EQ(device.reads(), 1u);
}

}  // namespace
}  // namespace extmerge
