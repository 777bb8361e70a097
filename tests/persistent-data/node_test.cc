// SPDX-License-Identifier: GPL-3.0-or-later
//
// Damages one field of a sound node at a time; check_node() must find exactly this fault.

#include "persistent-data/node.h"

#include <gtest/gtest.h>

#include "tests/persistent-data/failures.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {
namespace {

// A leaf of three mappings and an inner node of three children.
class ANode : public testing::Test {
 protected:
  MetadataBuilder pool_{16};
  const uint64_t leaf_ = pool_.add_leaf({{10, 100, 1}, {20, 200, 2}, {30, 300, 3}});
  const uint64_t inner_ = pool_.add_inner_node({{10, 5}, {20, 6}, {30, 7}});

  NodeExpectation expectation(uint64_t block) const {
    NodeExpectation expected;
    expected.location = MetadataBlock(block);
    expected.device = "memory";
    return expected;
  }
  std::span<const std::byte> bytes(uint64_t block) {
    return {pool_.block(block), kMetadataBlockSize};
  }
  std::string failure(uint64_t block) { return failure(block, expectation(block)); }
  std::string failure(uint64_t block, const NodeExpectation& expected) {
    return failure_of([&] { check_node(bytes(block), expected); });
  }
  // Corrects the checksum, as if a program had written the damage.
  std::string failure_behind_checksum(uint64_t block) {
    pool_.fix_checksum(block);
    return failure(block);
  }
};

TEST_F(ANode, ThatIsSoundGivesItsEntries) {
  const Node leaf = check_node(bytes(leaf_), expectation(leaf_));
  EXPECT_TRUE(leaf.is_leaf());
  ASSERT_EQ(leaf.size(), 3u);
  EXPECT_EQ(leaf.key(2), 30u);
  EXPECT_EQ(unpack_data_block(leaf.value64(2)), DataBlock(300));
  EXPECT_EQ(unpack_time(leaf.value64(2)), 3u);

  const Node inner = check_node(bytes(inner_), expectation(inner_));
  EXPECT_FALSE(inner.is_leaf());
  ASSERT_EQ(inner.size(), 3u);
  EXPECT_EQ(inner.key(1), 20u);
  EXPECT_EQ(inner.child(1), MetadataBlock(6));
}

TEST_F(ANode, HasItsValuesBehindTheRoomForAllKeys) {
  MetadataBuilder pool;
  const uint64_t block = pool.add_leaf({{1, 11}});
  pool.header(block).max_entries.set(3);
  pool.value(block, 0).set(uint64_t{77} << 24);
  pool.fix_checksum(block);
  const Node node = check_node({pool.block(block), kMetadataBlockSize}, expectation(block));
  EXPECT_EQ(unpack_data_block(node.value64(0)), DataBlock(77));
}

TEST_F(ANode, KeepsDataBlocksOf40BitsAndTimesOf24) {
  MetadataBuilder pool;
  const uint64_t block = pool.add_leaf({{0, (uint64_t{1} << 40) - 1, 0}, {1, 0, (1u << 24) - 1}});
  const Node node = check_node({pool.block(block), kMetadataBlockSize}, expectation(block));
  EXPECT_EQ(unpack_data_block(node.value64(0)), DataBlock((uint64_t{1} << 40) - 1));
  EXPECT_EQ(unpack_time(node.value64(0)), 0u);
  EXPECT_EQ(unpack_data_block(node.value64(1)), DataBlock(0));
  EXPECT_EQ(unpack_time(node.value64(1)), (1u << 24) - 1);
}

TEST_F(ANode, WithAnyByteChangedFailsItsChecksum) {
  for (const size_t byte : {size_t{5}, size_t{40}, size_t{2100}, kMetadataBlockSize - 1}) {
    pool_.block(leaf_)[byte] ^= std::byte{0x10};
    EXPECT_TRUE(failure(leaf_).starts_with(damage_in(leaf_, "the checksum"))) << byte;
    pool_.block(leaf_)[byte] ^= std::byte{0x10};
  }
  EXPECT_EQ(failure(leaf_), "done");
}

TEST_F(ANode, WithTheChecksumOfASuperblockIsRefused) {
  le32& checksum = pool_.header(leaf_).csum;
  checksum.set(checksum.get() ^ kNodeSalt ^ kSuperblockSalt);
  EXPECT_TRUE(failure(leaf_).starts_with(damage_in(leaf_, "the checksum")));
}

TEST_F(ANode, FromAnotherPlaceIsRefused) {
  pool_.header(leaf_).blocknr.set(9);
  EXPECT_EQ(failure_behind_checksum(leaf_), damage_in(leaf_, "the node says that it is block 9"));
}

TEST_F(ANode, MustBeALeafOrInternalAndNotBoth) {
  for (const uint32_t flags : {0u, 3u, 6u}) {
    pool_.header(leaf_).flags.set(flags);
    EXPECT_TRUE(failure_behind_checksum(leaf_).starts_with(damage_in(leaf_, "the node's flags")))
        << flags;
  }
}

TEST_F(ANode, OfTheKindThatTheDepthDoesNotAllowIsRefused) {
  NodeExpectation expected = expectation(leaf_);
  expected.must_be_internal = true;
  EXPECT_TRUE(failure(leaf_, expected).starts_with(damage_in(leaf_, "a leaf where")));
  expected = expectation(inner_);
  expected.must_be_leaf = true;
  EXPECT_TRUE(failure(inner_, expected).starts_with(damage_in(inner_, "an internal node where")));
}

TEST_F(ANode, WithValuesOfAnotherSizeIsRefused) {
  pool_.header(leaf_).value_size.set(16);
  pool_.header(leaf_).max_entries.set(126);
  EXPECT_EQ(failure_behind_checksum(leaf_), damage_in(leaf_, "the node's values have 16 bytes"));

  // Internal nodes hold block numbers, whatever the type of the leaves' values.
  pool_.header(inner_).value_size.set(24);
  pool_.header(inner_).max_entries.set(126);
  pool_.fix_checksum(inner_);
  NodeExpectation expected = expectation(inner_);
  expected.leaf_value_size = 24;
  EXPECT_EQ(failure(inner_, expected), damage_in(inner_, "the node's values have 24 bytes"));
}

TEST_F(ANode, WithRoomForNoEntriesOrForMoreThanFitIsRefused) {
  for (const uint32_t room : {0u, 255u, 0xffffffffu}) {
    pool_.header(leaf_).max_entries.set(room);
    EXPECT_EQ(failure_behind_checksum(leaf_),
              damage_in(leaf_, "the node claims room for " + std::to_string(room) + " entries"));
  }
}

TEST_F(ANode, WithRoomThatIsNoMultipleOfThreeIsRefused) {
  pool_.header(leaf_).max_entries.set(250);
  EXPECT_EQ(failure_behind_checksum(leaf_),
            damage_in(leaf_, "the node claims room for 250 entries"));
}

TEST_F(ANode, WithMoreEntriesThanRoomIsRefused) {
  pool_.header(leaf_).nr_entries.set(253);
  EXPECT_EQ(failure_behind_checksum(leaf_),
            damage_in(leaf_, "the node claims 253 entries with room for 252"));
}

TEST_F(ANode, WithoutEntriesIsAllowedOnlyAsALeafThatIsARoot) {
  const uint64_t empty_leaf = pool_.add_leaf({});
  EXPECT_EQ(failure(empty_leaf), damage_in(empty_leaf, "the node is empty"));
  NodeExpectation expected = expectation(empty_leaf);
  expected.is_root = true;
  EXPECT_EQ(failure(empty_leaf, expected), "done");

  const uint64_t empty_inner = pool_.add_inner_node({});
  expected.location = MetadataBlock(empty_inner);
  EXPECT_EQ(failure(empty_inner, expected), damage_in(empty_inner, "the node is empty"));
}

TEST_F(ANode, WithTwoEqualKeysIsRefused) {
  pool_.key(leaf_, 2).set(20);
  EXPECT_EQ(failure_behind_checksum(leaf_), damage_in(leaf_, "key 20 follows key 20"));
}

TEST_F(ANode, WithAKeyLowerThanTheOneBeforeIsRefused) {
  pool_.key(inner_, 1).set(9);
  EXPECT_EQ(failure_behind_checksum(inner_), damage_in(inner_, "key 9 follows key 10"));
}

TEST_F(ANode, MustKeepToTheKeysItsParentGivesIt) {
  NodeExpectation expected = expectation(leaf_);
  expected.first_key = 10;
  expected.end_key = 31;
  EXPECT_EQ(failure(leaf_, expected), "done");
  expected.first_key = 11;
  EXPECT_TRUE(failure(leaf_, expected).starts_with(damage_in(leaf_, "key 10 is below the 11")));
  expected.first_key = 0;
  expected.end_key = 30;
  EXPECT_TRUE(failure(leaf_, expected).starts_with(damage_in(leaf_, "key 30 is not below the 30")));
}

TEST_F(ANode, ThatIsDamagedSaysWhatToDoNext) {
  pool_.header(leaf_).csum.set(1);
  try {
    check_node(bytes(leaf_), expectation(leaf_));
    FAIL() << "a wrong checksum was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_status(), 9);
    EXPECT_NE(error.next().find("thin_check"), std::string::npos);
    EXPECT_NE(error.next().find("lvconvert --repair"), std::string::npos);
  }
}

}  // namespace
}  // namespace extmerge
