// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/metadata_reader.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/persistent-data/failures.h"
#include "tests/support/memory_device.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {
namespace {

MemoryDevice pool_device(bool hold = true) {
  MetadataBuilder pool(64);
  pool.add_device(1, pool.add_tree({{0, 0}}));
  pool.finish(hold);
  return MemoryDevice(pool.image());
}

// Changes the block for the next reads, like a commit under way.
void tear(MemoryDevice& device, uint64_t how) {
  device.contents()[100] = static_cast<std::byte>(how);
}

TEST(MetadataReader, KnowsItsBlocksAndLeavesOutAFractionAtTheEnd) {
  MemoryDevice device(std::vector<std::byte>(3 * kMetadataBlockSize + 512));
  EXPECT_EQ(MetadataReader(device).nr_blocks(), 3u);
}

TEST(MetadataReader, RefusesADeviceThatCannotHoldASuperblock) {
  MemoryDevice device(std::vector<std::byte>(kMetadataBlockSize - 512));
  EXPECT_TRUE(failure_of([&] {
                MetadataReader reader(device);
              }).starts_with(damage_in(0, "the device has only 3584 bytes")));
}

TEST(MetadataReader, ReadsTheBlockThatIsAskedFor) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  device.contents()[7 * kMetadataBlockSize + 5] = std::byte{0x5a};
  const std::span<const std::byte> block = reader.read(MetadataBlock(7));
  ASSERT_EQ(block.size(), kMetadataBlockSize);
  EXPECT_EQ(block[5], std::byte{0x5a});
}

TEST(MetadataReader, RefusesABlockOutsideTheDevice) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  for (const uint64_t block : {uint64_t{64}, UINT64_MAX, UINT64_MAX / kMetadataBlockSize + 1})
    EXPECT_TRUE(failure_of([&] {
                  reader.read(MetadataBlock(block));
                }).starts_with(damage_in(block, "it lies outside the device of 64 blocks")));
  EXPECT_EQ(device.reads(), 0u);
}

TEST(MetadataReader, SaysWhichDeviceCouldNotBeRead) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  device.on_request([](IoRequest& request) { request.result = -EIO; });
  const std::string failure = failure_of([&] { reader.read(MetadataBlock(3)); });
  EXPECT_TRUE(failure.starts_with("EXM-701")) << failure;
  EXPECT_NE(failure.find("memory"), std::string::npos);
}

TEST(LiveSuperblock, IsReadOnceWhenItIsWhole) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  EXPECT_EQ(reader.live_superblock().transaction_id, 13u);
  EXPECT_EQ(device.reads(), 1u);
}

TEST(LiveSuperblock, TornByACommitIsReadAgainUntilItIsWhole) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  tear(device, 1);
  device.on_request([&](IoRequest&) {
    if (device.reads() == 3) tear(device, 0);  // restored: the commit is complete
  });
  EXPECT_EQ(reader.live_superblock().transaction_id, 13u);
  EXPECT_EQ(device.reads(), 3u);
}

TEST(LiveSuperblock, TornDifferentlyEachTimeMeansABusyPool) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  device.on_request([&](IoRequest&) { tear(device, device.reads()); });
  EXPECT_TRUE(failure_of([&] { reader.live_superblock(); }).starts_with("EXM-904"));
  EXPECT_EQ(device.reads(), 5u);
}

TEST(LiveSuperblock, WrongTheSameWayEachTimeIsDamaged) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  tear(device, 1);
  EXPECT_TRUE(failure_of([&] {
                reader.live_superblock();
              }).starts_with(damage_in(0, "the superblock's checksum")));
  EXPECT_EQ(device.reads(), 5u);
}

TEST(HeldSuperblock, IsFoundWhereTheLiveOneSays) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  const Superblock live = reader.live_superblock();
  const Superblock held = reader.held_superblock(live.held_root);
  EXPECT_EQ(held.location, live.held_root);
  EXPECT_EQ(held.device_details_root, live.device_details_root);
}

TEST(HeldSuperblock, ThatIsNotHeldIsNoDamage) {
  MemoryDevice device = pool_device(false);
  MetadataReader reader(device);
  EXPECT_TRUE(failure_of([&] {
                reader.held_superblock(reader.live_superblock().held_root);
              }).starts_with("EXM-408"));
}

TEST(HeldSuperblock, IsNotTakenFromABlockThatIsSomethingElse) {
  MemoryDevice device = pool_device();
  MetadataReader reader(device);
  EXPECT_TRUE(failure_of([&] {
                reader.held_superblock(MetadataBlock(1));
              }).starts_with(damage_in(1, "this is not a superblock")));
  EXPECT_TRUE(failure_of([&] {
                reader.held_superblock(MetadataBlock(64));
              }).starts_with(damage_in(64, "it lies outside")));
}

}  // namespace
}  // namespace extmerge
