// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/devices.h"

#include <gtest/gtest.h>

#include "tests/persistent-data/failures.h"
#include "tests/support/memory_device.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {
namespace {

// The devices of a pool, read by a new reader.
std::vector<ThinDevice> devices_of(const MetadataBuilder& pool) {
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  return read_devices(reader, reader.live_superblock());
}

std::optional<ThinDevice> device_of(const MetadataBuilder& pool, uint32_t id) {
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  return find_device(reader, reader.live_superblock(), ThinId(id));
}

// Devices 3, 6, 9, ... in trees of three levels and more.
MetadataBuilder pool_of_many(uint32_t count) {
  MetadataBuilder pool;
  for (uint32_t i = 1; i <= count; ++i) {
    pool.add_mapping_root(3 * i, 900);
    pool.add_details(3 * i, i, 1000 + i, 2000 + i, 3000 + i);
  }
  pool.shape_device_trees({.leaf_fill = 5, .inner_fill = 4});
  pool.finish();
  return pool;
}

TEST(ReadDevices, FindsNoneInAnEmptyPool) {
  MetadataBuilder pool;
  pool.finish();
  EXPECT_TRUE(devices_of(pool).empty());
  EXPECT_FALSE(device_of(pool, 0));
}

TEST(ReadDevices, GivesEachDeviceWithItsDetailsInOrderOfId) {
  const MetadataBuilder pool = pool_of_many(200);
  ASSERT_GE(pool.details().levels.size(), 4u);
  const std::vector<ThinDevice> devices = devices_of(pool);
  ASSERT_EQ(devices.size(), 200u);
  for (uint32_t i = 1; i <= 200; ++i) {
    const ThinDevice& device = devices[i - 1];
    EXPECT_EQ(value(device.id), 3 * i);
    EXPECT_EQ(device.mapping_root, MetadataBlock(900));
    EXPECT_EQ(device.mapped_blocks, i);
    EXPECT_EQ(device.transaction_id, 1000 + i);
    EXPECT_EQ(device.creation_time, 2000 + i);
    EXPECT_EQ(device.snapshotted_time, 3000 + i);
  }
}

TEST(ReadDevices, TakesFreshSnapshotsThatShareTheirWholeTree) {
  MetadataBuilder pool;
  const BuiltTree tree = pool.add_tree({{0, 0}});
  pool.add_device(1, tree);
  pool.add_device(2, tree);
  pool.finish();
  const std::vector<ThinDevice> devices = devices_of(pool);
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[0].mapping_root, devices[1].mapping_root);
}

TEST(ReadDevices, ReadsTheLeavesOfBothTreesInFewRequests) {
  MetadataBuilder pool(4096);
  const BuiltTree tree = pool.add_tree({{0, 0}});
  for (uint32_t id = 1; id <= 20000; ++id) pool.add_device(id, tree);
  pool.finish();
  const size_t leaves = pool.mapping_roots().leaves().size() + pool.details().leaves().size();
  ASSERT_GT(leaves, 200u);
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  const Superblock superblock = reader.live_superblock();
  const uint64_t requests = device.reads();
  const uint64_t bytes = device.bytes_read();
  EXPECT_EQ(read_devices(reader, superblock).size(), 20000u);
  EXPECT_LE(device.reads() - requests, 8u);
  // The root and the way down to the first leaf, then each leaf once.
  EXPECT_LE(device.bytes_read() - bytes, (leaves + 6) * kMetadataBlockSize);
}

TEST(FindDevice, FindsEachDeviceAndNoneInBetween) {
  const MetadataBuilder pool = pool_of_many(100);
  for (uint32_t id = 0; id <= 303; ++id) {
    const auto device = device_of(pool, id);
    ASSERT_EQ(device.has_value(), id != 0 && id % 3 == 0 && id <= 300) << id;
    if (!device) continue;
    EXPECT_EQ(value(device->id), id);
    EXPECT_EQ(device->mapped_blocks, id / 3);
    EXPECT_EQ(device->transaction_id, 1000 + id / 3);
  }
}

TEST(FindDevice, ReadsOneNodeOfEachLevel) {
  const MetadataBuilder pool = pool_of_many(200);
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  const Superblock superblock = reader.live_superblock();
  const uint64_t before = device.reads();
  ASSERT_TRUE(find_device(reader, superblock, ThinId(300)));
  EXPECT_EQ(device.reads() - before,
            pool.mapping_roots().levels.size() + pool.details().levels.size());
}

TEST(Devices, WithoutDetailsAreDamage) {
  for (const uint32_t id : {1u, 5u, 9u}) {  // the first, one in the middle, the last
    MetadataBuilder pool;
    const BuiltTree tree = pool.add_tree({{0, 0}});
    for (const uint32_t other : {1u, 5u, 9u}) {
      pool.add_mapping_root(other, tree.root());
      if (other != id) pool.add_details(other, 1);
    }
    pool.finish();
    const std::string expected = damage_in(
        pool.details().root(), "thin device " + std::to_string(id) + " has a mapping tree and no");
    EXPECT_TRUE(failure_of([&] { devices_of(pool); }).starts_with(expected)) << id;
    EXPECT_TRUE(failure_of([&] { device_of(pool, id); }).starts_with(expected)) << id;
  }
}

TEST(Devices, WithoutAMappingTreeAreDamage) {
  for (const uint32_t id : {1u, 5u, 9u}) {
    MetadataBuilder pool;
    const BuiltTree tree = pool.add_tree({{0, 0}});
    for (const uint32_t other : {1u, 5u, 9u}) {
      pool.add_details(other, 1);
      if (other != id) pool.add_mapping_root(other, tree.root());
    }
    pool.finish();
    const std::string expected = damage_in(
        pool.mapping_roots().root(), "thin device " + std::to_string(id) + " has details and no");
    EXPECT_TRUE(failure_of([&] { devices_of(pool); }).starts_with(expected)) << id;
    EXPECT_TRUE(failure_of([&] { device_of(pool, id); }).starts_with(expected)) << id;
  }
}

TEST(Devices, WithIdsOf25BitsAreDamage) {
  for (const bool in_both : {false, true}) {
    MetadataBuilder pool;
    const BuiltTree tree = pool.add_tree({{0, 0}});
    pool.add_device(kMaxThinId, tree);
    pool.add_details(kMaxThinId + 1, 1);
    if (in_both) pool.add_mapping_root(kMaxThinId + 1, tree.root());
    pool.finish();
    const uint64_t leaf = in_both ? pool.mapping_roots().root() : pool.details().root();
    EXPECT_EQ(failure_of([&] { devices_of(pool); }),
              damage_in(leaf, "thin device id 16777216 has more than 24 bits"));
  }
}

TEST(Devices, OfTheHighest24BitIdAreFound) {
  MetadataBuilder pool;
  pool.add_device(kMaxThinId, pool.add_tree({{0, 0}}));
  pool.finish();
  EXPECT_EQ(devices_of(pool).size(), 1u);
  EXPECT_TRUE(device_of(pool, kMaxThinId));
}

TEST(Devices, InADamagedNodeAreNotRead) {
  MetadataBuilder pool = pool_of_many(200);
  const uint64_t leaf = pool.details().leaves().back();
  pool.header(leaf).value_size.set(8);
  pool.fix_checksum(leaf);
  const std::string expected = damage_in(leaf, "the node's values have 8 bytes");
  EXPECT_EQ(failure_of([&] { devices_of(pool); }), expected);
  EXPECT_EQ(failure_of([&] { device_of(pool, 600); }), expected);
  EXPECT_TRUE(device_of(pool, 3));  // on another path from the root
}

TEST(FindDevice, EndsInATreeThatGoesInCircles) {
  MetadataBuilder pool;
  pool.add_device(3, pool.add_tree({{0, 0}}));
  pool.shape_device_trees({.min_levels = 2});
  pool.finish();
  // The root's only child is itself, so that all keys are in range.
  const uint64_t root = pool.mapping_roots().root();
  pool.value(root, 0).set(root);
  pool.fix_checksum(root);
  EXPECT_EQ(failure_of([&] { device_of(pool, 3); }),
            damage_in(root, "the tree is deeper than 16 levels"));
  EXPECT_EQ(failure_of([&] { devices_of(pool); }), damage_in(root, "the tree refers to it twice"));
}

TEST(FindDevice, RefusesAChildOutsideTheDevice) {
  for (const uint64_t child : {uint64_t{0}, uint64_t{1024}, UINT64_MAX}) {
    MetadataBuilder pool = pool_of_many(200);
    const uint64_t root = pool.mapping_roots().root();
    pool.value(root, 0).set(child);
    pool.fix_checksum(root);
    const std::string expected = damage_in(child, "a tree refers to it as a node");
    EXPECT_TRUE(failure_of([&] { device_of(pool, 3); }).starts_with(expected));
    EXPECT_TRUE(failure_of([&] { devices_of(pool); }).starts_with(expected));
  }
}

}  // namespace
}  // namespace extmerge
