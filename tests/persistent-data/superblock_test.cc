// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/superblock.h"

#include <gtest/gtest.h>

#include "tests/persistent-data/failures.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {
namespace {

constexpr uint64_t kBlocks = 64;

MetadataBuilder finished_pool(uint32_t data_block_sectors = 128) {
  MetadataBuilder pool(kBlocks, data_block_sectors);
  pool.add_device(1, pool.add_tree({{0, 0}}));
  pool.finish();
  return pool;
}

Superblock check(MetadataBuilder& pool, uint64_t location = 0) {
  return check_superblock({pool.block(location), kMetadataBlockSize}, MetadataBlock(location),
                          kBlocks, "memory");
}

class ASuperblock : public testing::Test {
 protected:
  MetadataBuilder pool_ = finished_pool();

  // The failure after `damage` with a right checksum.
  template <typename Damage>
  std::string failure_after(Damage damage, uint64_t location = 0) {
    damage(pool_.superblock(location));
    pool_.fix_checksum(location);
    return failure_of([&] { check(pool_, location); });
  }
};

TEST_F(ASuperblock, ThatIsSoundGivesItsFields) {
  const Superblock superblock = check(pool_);
  EXPECT_EQ(superblock.location, MetadataBlock(0));
  EXPECT_FALSE(superblock.needs_check);
  EXPECT_EQ(superblock.time, 11u);
  EXPECT_EQ(superblock.transaction_id, 13u);
  EXPECT_EQ(superblock.held_root, MetadataBlock(pool_.held_root()));
  EXPECT_EQ(superblock.data_mapping_root, MetadataBlock(pool_.mapping_roots().root()));
  EXPECT_EQ(superblock.device_details_root, MetadataBlock(pool_.details().root()));
  EXPECT_EQ(superblock.data_block_size.bytes(), Bytes(65536));
}

TEST_F(ASuperblock, HeldByASnapshotIsReadWithItsSpaceMapsWiped) {
  const uint64_t held = pool_.held_root();
  ASSERT_EQ(pool_.superblock(held).data_space_map_root.nr_blocks.get(), 0u);
  const Superblock superblock = check(pool_, held);
  EXPECT_EQ(superblock.location, MetadataBlock(held));
  EXPECT_EQ(superblock.held_root, MetadataBlock(0));
  EXPECT_EQ(superblock.data_mapping_root, MetadataBlock(pool_.mapping_roots().root()));
}

TEST_F(ASuperblock, SaysWhetherThePoolNeedsACheck) {
  pool_.superblock().flags.set(kFlagNeedsCheck);
  pool_.fix_checksum(0);
  EXPECT_TRUE(check(pool_).needs_check);
}

TEST(DataBlockSizes, AreMultiplesOf64KiBUpTo1GiBAndNeedNotBePowersOfTwo) {
  for (const uint32_t sectors : {128u, 384u, 2048u, 2097152u}) {
    MetadataBuilder pool = finished_pool(sectors);
    EXPECT_EQ(check(pool).data_block_size.bytes(), to_bytes(Sectors(sectors)));
  }
  for (const uint32_t sectors : {0u, 64u, 129u, 192u, 2097152u + 128u}) {
    MetadataBuilder pool = finished_pool(sectors);
    EXPECT_EQ(failure_of([&] { check(pool); }),
              damage_in(0, "the superblock gives data blocks of " + std::to_string(sectors) +
                               " sectors"));
  }
}

TEST_F(ASuperblock, WithAnyByteChangedFailsItsChecksum) {
  for (const size_t byte : {size_t{5}, size_t{60}, size_t{363}, size_t{4000}}) {
    pool_.block(0)[byte] ^= std::byte{1};
    EXPECT_TRUE(
        failure_of([&] { check(pool_); }).starts_with(damage_in(0, "the superblock's checksum")))
        << byte;
    EXPECT_FALSE(superblock_is_whole({pool_.block(0), kMetadataBlockSize}, MetadataBlock(0)));
    pool_.block(0)[byte] ^= std::byte{1};
  }
  EXPECT_TRUE(superblock_is_whole({pool_.block(0), kMetadataBlockSize}, MetadataBlock(0)));
}

TEST_F(ASuperblock, WithTheChecksumOfANodeIsRefused) {
  le32& checksum = pool_.superblock().csum;
  checksum.set(checksum.get() ^ kNodeSalt ^ kSuperblockSalt);
  EXPECT_TRUE(
      failure_of([&] { check(pool_); }).starts_with(damage_in(0, "the superblock's checksum")));
}

TEST_F(ASuperblock, OfAnotherPlaceIsRefused) {
  EXPECT_EQ(failure_after([](DiskSuperblock& disk) { disk.blocknr.set(5); }),
            damage_in(0, "the superblock says that it is block 5"));
  EXPECT_FALSE(superblock_is_whole({pool_.block(0), kMetadataBlockSize}, MetadataBlock(0)));

  // Use the live superblock as a held one.
  const uint64_t held = pool_.held_root();
  EXPECT_EQ(failure_after([](DiskSuperblock& disk) { disk.blocknr.set(0); }, held),
            damage_in(held, "the superblock says that it is block 0"));
}

TEST_F(ASuperblock, OfSomethingElseIsCalledThatBeforeItsChecksumIsLookedAt) {
  pool_.superblock().magic.set(0xef53);
  EXPECT_EQ(failure_of([&] { check(pool_); }),
            damage_in(0,
                      "this is not a superblock of thin-pool metadata, its magic number is "
                      "61267"));
}

TEST_F(ASuperblock, OfAnotherVersionIsNotSupported) {
  for (const uint32_t version : {1u, 3u})
    EXPECT_EQ(
        failure_after([&](DiskSuperblock& disk) { disk.version.set(version); }),
        "EXM-903 the pool metadata on memory is of version " + std::to_string(version) + ", not 2");
}

TEST_F(ASuperblock, WithIncompatibleFeaturesIsNotSupported) {
  EXPECT_EQ(failure_after([](DiskSuperblock& disk) { disk.incompat_flags.set(4); }),
            "EXM-903 the pool metadata on memory uses features unknown here, flags 4");
}

TEST_F(ASuperblock, WithFeaturesThatDoNotHinderReadersIsRead) {
  EXPECT_EQ(failure_after([](DiskSuperblock& disk) {
              disk.compat_flags.set(1);
              disk.compat_ro_flags.set(1);
            }),
            "done");
}

TEST_F(ASuperblock, WithOtherMetadataBlocksThanOf4KiBIsRefused) {
  EXPECT_EQ(failure_after([](DiskSuperblock& disk) { disk.metadata_block_size.set(16); }),
            damage_in(0, "the superblock gives metadata blocks of 16 sectors"));
}

TEST_F(ASuperblock, MustHaveItsRootsInsideTheDevice) {
  for (const uint64_t root : {uint64_t{0}, kBlocks, UINT64_MAX}) {
    MetadataBuilder pool = pool_;
    pool.superblock().data_mapping_root.set(root);
    pool.fix_checksum(0);
    EXPECT_TRUE(failure_of([&] { check(pool); })
                    .starts_with(damage_in(
                        0, "the superblock's mapping root is block " + std::to_string(root))));

    pool = pool_;
    pool.superblock().device_details_root.set(root);
    pool.fix_checksum(0);
    EXPECT_TRUE(failure_of([&] { check(pool); })
                    .starts_with(damage_in(
                        0, "the superblock's details root is block " + std::to_string(root))));
  }
  EXPECT_TRUE(failure_after([](DiskSuperblock& disk) {
                disk.held_root.set(kBlocks);
              }).starts_with(damage_in(0, "the superblock's metadata snapshot is block 64")));
}

TEST_F(ASuperblock, HeldByASnapshotHoldsNoSnapshotItself) {
  const uint64_t held = pool_.held_root();
  EXPECT_TRUE(failure_after([](DiskSuperblock& disk) { disk.held_root.set(3); }, held)
                  .starts_with(damage_in(held, "a metadata snapshot's superblock names")));
}

}  // namespace
}  // namespace extmerge
