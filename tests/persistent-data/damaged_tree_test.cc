// SPDX-License-Identifier: GPL-3.0-or-later
//
// Trees with one fault and right checksums, as from a hostile or broken writer. The walk must
// refuse each, name the block and end.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/persistent-data/failures.h"
#include "tests/persistent-data/walks.h"
#include "tests/support/memory_device.h"

namespace extmerge {
namespace {

// 60 mappings, thin blocks 0, 3, ... 177, in 12 leaves of 5 below 3 inner nodes of 4.
class ADamagedTree : public testing::Test {
 protected:
  MetadataBuilder pool_;
  const BuiltTree tree_ = pool_.add_tree(some_mappings(60), {.leaf_fill = 5, .inner_fill = 4});
  const uint64_t root_ = tree_.root();
  const std::vector<uint64_t>& inner_ = tree_.levels[1];
  const std::vector<uint64_t>& leaves_ = tree_.leaves();

  std::string failure(uint64_t root, const MappingWalkOptions& options = {}) const {
    MemoryDevice device(pool_.image());
    MetadataReader reader(device);
    const std::string failure = failure_of([&] { walk_tree(reader, root, options); });
    EXPECT_EQ(device.in_flight(), 0u);
    return failure;
  }
  std::string failure() const { return failure(root_); }

  void set_child(uint64_t node, uint32_t i, uint64_t child) {
    pool_.value(node, i).set(child);
    pool_.fix_checksum(node);
  }
  void set_key(uint64_t node, uint32_t i, uint64_t key) {
    pool_.key(node, i).set(key);
    pool_.fix_checksum(node);
  }
};

TEST_F(ADamagedTree, IsSoundBeforeItIsDamaged) { EXPECT_EQ(failure(), "done"); }

TEST_F(ADamagedTree, WithAWrongChecksumInAnyNodeIsRefused) {
  for (const auto& level : tree_.levels)
    for (const uint64_t block : level) {
      pool_.block(block)[50] ^= std::byte{1};
      EXPECT_TRUE(failure().starts_with(damage_in(block, "the checksum")));
      pool_.block(block)[50] ^= std::byte{1};
    }
}

TEST_F(ADamagedTree, WithANodeOfAnotherPlaceIsRefused) {
  pool_.header(leaves_[7]).blocknr.set(leaves_[8]);
  pool_.fix_checksum(leaves_[7]);
  EXPECT_TRUE(failure().starts_with(damage_in(leaves_[7], "the node says that it is block")));
}

TEST_F(ADamagedTree, ThatPointsOutOfTheDeviceIsRefused) {
  for (const uint64_t child : {uint64_t{1024}, uint64_t{1} << 40, UINT64_MAX}) {
    set_child(inner_[1], 2, child);
    EXPECT_TRUE(failure().starts_with(damage_in(child, "a tree refers to it"))) << child;
    EXPECT_TRUE(failure(child).starts_with(damage_in(child, "a tree refers to it"))) << child;
  }
}

TEST_F(ADamagedTree, ThatPointsToTheSuperblockIsRefused) {
  set_child(root_, 0, 0);
  EXPECT_TRUE(failure().starts_with(damage_in(0, "a tree refers to it")));
  EXPECT_TRUE(failure(0).starts_with(damage_in(0, "a tree refers to it")));
}

TEST_F(ADamagedTree, ThatReachesALeafTwiceIsRefused) {
  set_child(inner_[2], 3, leaves_[0]);
  EXPECT_EQ(failure(), damage_in(leaves_[0], "the tree refers to it twice"));
}

TEST_F(ADamagedTree, ThatReachesASubtreeTwiceIsRefused) {
  set_child(root_, 2, inner_[0]);
  EXPECT_EQ(failure(), damage_in(inner_[0], "the tree refers to it twice"));
}

TEST_F(ADamagedTree, ThatGoesInCirclesIsRefused) {
  set_child(inner_[0], 0, root_);
  EXPECT_EQ(failure(), damage_in(root_, "the tree refers to it twice"));
}

TEST_F(ADamagedTree, ThatLeavesOutASubtreeTwiceIsRefused) {
  set_child(root_, 2, inner_[0]);
  BlockSet skip(1024);
  skip.insert(MetadataBlock(inner_[0]));
  EXPECT_EQ(failure(root_, {.skip = &skip}), damage_in(inner_[0], "the tree refers to it twice"));
}

TEST_F(ADamagedTree, MayHave16LevelsAndNoMore) {
  const BuiltTree deepest = pool_.add_tree(some_mappings(1), {.min_levels = 16});
  EXPECT_EQ(failure(deepest.root()), "done");
  const BuiltTree deeper = pool_.add_tree(some_mappings(1), {.min_levels = 17});
  EXPECT_EQ(failure(deeper.root()),
            damage_in(deeper.leaves()[0], "the tree is deeper than 16 levels"));
}

TEST_F(ADamagedTree, WithALeafAboveTheOthersIsRefused) {
  set_child(root_, 1, pool_.add_leaf({{60, 1}, {63, 2}}));
  EXPECT_TRUE(failure().starts_with("EXM-901")) << failure();
  EXPECT_NE(failure().find("a leaf where the tree's depth asks for an internal node"),
            std::string::npos);
}

TEST_F(ADamagedTree, WithALeafBelowTheOthersIsRefused) {
  const uint64_t between = pool_.add_inner_node({{pool_.key(leaves_[6], 0).get(), leaves_[6]}});
  set_child(inner_[1], 2, between);
  EXPECT_EQ(failure(),
            damage_in(between, "an internal node where the tree's depth asks for a leaf"));
}

TEST_F(ADamagedTree, WithItsFirstLeafAboveAnInnerNodeThatWasLeftEmptyIsRefused) {
  // All children of the first inner node are skipped, so that the leaf beside it shows a wrong
  // depth.
  set_child(root_, 1, pool_.add_leaf({{60, 1}, {63, 2}}));
  BlockSet skip(1024);
  for (size_t i = 0; i < 4; ++i) skip.insert(MetadataBlock(leaves_[i]));
  EXPECT_NE(failure(root_, {.skip = &skip}).find("a leaf where the tree's depth asks for"),
            std::string::npos);
}

TEST_F(ADamagedTree, WithAKeyBelowItsParentsRangeIsRefused) {
  set_key(leaves_[5], 0, 74);  // the parent says 75
  EXPECT_TRUE(failure().starts_with(damage_in(leaves_[5], "key 74 is below the 75")));
}

TEST_F(ADamagedTree, WithAKeyBelowTheRangeOfAFirstChildIsRefused) {
  set_key(leaves_[4], 0, 59);  // first child of the second inner node, which starts at 60
  EXPECT_TRUE(failure().starts_with(damage_in(leaves_[4], "key 59 is below the 60")));
}

TEST_F(ADamagedTree, WithAKeyAboveItsParentsRangeIsRefused) {
  set_key(leaves_[5], 4, 90);  // where the next leaf starts
  EXPECT_TRUE(failure().starts_with(damage_in(leaves_[5], "key 90 is not below the 90")));
}

TEST_F(ADamagedTree, WithAKeyAboveTheRangeOfALastChildIsRefused) {
  set_key(leaves_[3], 4, 60);  // where the next inner node starts
  EXPECT_TRUE(failure().starts_with(damage_in(leaves_[3], "key 60 is not below the 60")));
}

TEST_F(ADamagedTree, WithAnInnerNodeOutOfItsRangeIsRefused) {
  set_key(inner_[1], 0, 59);
  EXPECT_TRUE(failure().starts_with(damage_in(inner_[1], "key 59 is below the 60")));
  set_key(inner_[1], 0, 60);
  set_key(inner_[1], 3, 120);
  EXPECT_TRUE(failure().starts_with(damage_in(inner_[1], "key 120 is not below the 120")));
}

TEST_F(ADamagedTree, MayStartAnywhereInItsRange) {
  set_key(leaves_[5], 0, 76);
  EXPECT_EQ(failure(), "done");
}

TEST_F(ADamagedTree, WithAnEmptyLeafIsRefused) {
  pool_.header(leaves_[9]).nr_entries.set(0);
  pool_.fix_checksum(leaves_[9]);
  EXPECT_EQ(failure(), damage_in(leaves_[9], "the node is empty"));
}

TEST_F(ADamagedTree, WithALeafOfTheDetailsTreeIsRefused) {
  pool_.header(leaves_[9]).value_size.set(24);
  pool_.header(leaves_[9]).max_entries.set(126);
  pool_.fix_checksum(leaves_[9]);
  EXPECT_EQ(failure(), damage_in(leaves_[9], "the node's values have 24 bytes"));
}

TEST_F(ADamagedTree, ThatMapsToTheEndOfTheDataDeviceIsRefused) {
  // some_mappings(60) uses data blocks 1001 to 1060, the highest for thin block 0.
  EXPECT_EQ(failure(root_, {.end_of_data = DataBlock(1061)}), "done");
  EXPECT_EQ(failure(root_, {.end_of_data = DataBlock(1060)}),
            damage_in(leaves_[0],
                      "thin block 0 is mapped to data block 1060, the data device ends "
                      "at block 1060"));
}

TEST_F(ADamagedTree, WithAnyByteWrongNeitherCrashesNorDeliversOutOfOrder) {
  const bool held = rc::check([this] {
    MetadataBuilder pool = pool_;
    const auto changes = *rc::gen::inRange(1, 4);
    for (int i = 0; i < changes; ++i) {
      const auto level = *rc::gen::elementOf(tree_.levels);
      const uint64_t block = *rc::gen::elementOf(level);
      // Header and first keys, or the first values.
      const size_t byte =
          *rc::gen::oneOf(rc::gen::inRange<size_t>(4, 80), rc::gen::inRange<size_t>(2048, 2096));
      pool.block(block)[byte] = std::byte{*rc::gen::arbitrary<uint8_t>()};
      pool.fix_checksum(block);
    }
    MemoryDevice device(pool.image());
    MetadataReader reader(device);
    const DataBlock end_of_data(1 << 20);
    try {
      const ThinAndData all = walk_tree(reader, root_, {.end_of_data = end_of_data});
      for (size_t i = 0; i < all.size(); ++i) {
        const bool rises =
            i == 0 || all[i - 1].first < all[i].first;  // RC_ASSERT evaluates all of ||
        RC_ASSERT(rises);
        RC_ASSERT(all[i].second < end_of_data.value());
      }
    } catch (const Error& error) {
      RC_ASSERT(error.id() == MessageId::kMetadataDamaged);
    }
    RC_ASSERT(device.in_flight() == 0u);
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace extmerge
