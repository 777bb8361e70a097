// SPDX-License-Identifier: GPL-3.0-or-later
//
// A scene must detect a wrong merge, or the tests that use it prove nothing.

#include "tests/support/merge_scene.h"

#include <gtest/gtest.h>

#include "persistent-data/devices.h"
#include "persistent-data/mapping_walk.h"

namespace extmerge {
namespace {

// The origin has four and a half blocks, the thin five and a quarter. Half of block 4 lies past the
// origin's end, three quarters of block 5 past the thin's.
SceneShape ragged() {
  SceneShape shape;
  shape.thin_size = 5 * kBlock + kBlock / 4;
  shape.origin_size = 4 * kBlock + kBlock / 2;
  shape.mappings = {{5, 1}, {1, 3}, {4, 0}};
  return shape;
}

std::span<const std::byte> slice(const std::vector<std::byte>& from, uint64_t at, uint64_t length) {
  return std::span(from).subspan(at, length);
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

TEST(MergeScene, ExpectsMappedBlocksFromTheDataUpToTheLowerEnd) {
  SimulatedWorld world;
  const MergeScene scene(world, ragged());
  const auto origin = scene.origin().contents();
  const auto data = scene.data().contents();
  const auto expected = scene.expected_origin();
  ASSERT_EQ(expected.size(), origin.size());
  EXPECT_TRUE(same(slice(expected, 0, kBlock), slice(origin, 0, kBlock)));
  EXPECT_TRUE(same(slice(expected, kBlock, kBlock), slice(data, 3 * kBlock, kBlock)));
  EXPECT_TRUE(same(slice(expected, 2 * kBlock, 2 * kBlock), slice(origin, 2 * kBlock, 2 * kBlock)));
  EXPECT_TRUE(same(slice(expected, 4 * kBlock, kBlock / 2), slice(data, 0, kBlock / 2)));

  const auto grown = scene.expected_origin(*ragged().thin_size);
  EXPECT_TRUE(same(slice(grown, 4 * kBlock, kBlock), slice(data, 0, kBlock)));
  EXPECT_TRUE(same(slice(grown, 5 * kBlock, kBlock / 4), slice(data, kBlock, kBlock / 4)));
  EXPECT_EQ(first_difference(grown, scene.first_view()), "");
}

TEST(MergeScene, AMergeOfAnyPartOfMappedBlocksKeepsTheView) {
  SimulatedWorld world;
  const MergeScene scene(world, ragged());
  const auto data = scene.data().contents();
  scene.origin().overwrite(Bytes(kBlock + 512), slice(data, 3 * kBlock + 512, 4096));
  EXPECT_EQ(first_difference(scene.snapshot_view(), scene.first_view()), "");
  EXPECT_EQ(scene.damage(), "");
  EXPECT_NE(first_difference(scene.origin().contents(), scene.expected_origin()), "");
  scene.origin().overwrite(Bytes(0), scene.expected_origin());
  EXPECT_EQ(first_difference(scene.snapshot_view(), scene.first_view()), "");
  EXPECT_EQ(scene.damage(), "");
}

TEST(MergeScene, NoticesAByteWrittenWhereNothingIsMapped) {
  SimulatedWorld world;
  const MergeScene scene(world, ragged());
  const std::vector<std::byte> stray(1, scene.origin().contents()[kBlock - 1] ^ std::byte(1));
  scene.origin().overwrite(Bytes(kBlock - 1), stray);
  EXPECT_NE(first_difference(scene.snapshot_view(), scene.first_view()), "");
  EXPECT_NE(scene.damage().find("origin outside mapped blocks: at byte 65535"), std::string::npos)
      << scene.damage();
}

TEST(MergeScene, NoticesAWriteToThePool) {
  SimulatedWorld world;
  const MergeScene scene(world, ragged());
  const std::vector<std::byte> zeros(512);
  scene.data().overwrite(Bytes(2 * kBlock), zeros);
  scene.metadata().overwrite(Bytes(0), zeros);
  EXPECT_NE(scene.damage().find("metadata: at byte 0"), std::string::npos) << scene.damage();
  EXPECT_NE(scene.damage().find("data: at byte 131072"), std::string::npos) << scene.damage();
}

TEST(MergeScene, ItsMetadataSnapshotHoldsTheMappings) {
  SimulatedWorld world;
  SceneShape shape = ragged();
  shape.leaf_fill = 1;
  const MergeScene scene(world, shape);
  MetadataReader reader(scene.metadata());
  const Superblock held = reader.held_superblock(reader.live_superblock().held_root);
  EXPECT_EQ(held.data_block_size.bytes(), Bytes(kBlock));
  const auto device = find_device(reader, held, MergeScene::kThinId);
  ASSERT_TRUE(device);
  EXPECT_EQ(device->mapped_blocks, 3u);
  MappingWalk walk(reader, device->mapping_root, {});
  std::vector<std::pair<uint64_t, uint64_t>> found;
  for (auto batch = walk.next(); !batch.empty(); batch = walk.next())
    for (const Mapping& m : batch) found.emplace_back(m.thin.value(), m.data.value());
  const std::vector<std::pair<uint64_t, uint64_t>> in_order = {{1, 3}, {4, 0}, {5, 1}};
  EXPECT_EQ(found, in_order);
}

TEST(MergeScene, MakesAsManyPiecesEqualAsAskedFor) {
  SimulatedWorld world;
  SceneShape shape;
  shape.origin_size = 16 * kBlock;
  for (uint64_t i = 0; i < 16; ++i) shape.mappings.emplace_back(i, 15 - i);
  const auto equal_pieces = [&](unsigned percent) {
    shape.percent_equal = percent;
    const MergeScene scene(world, shape);
    const auto origin = scene.origin().contents();
    const auto expected = scene.expected_origin();
    int equal = 0;
    for (uint64_t at = 0; at < origin.size(); at += 4096)
      equal += same(slice(origin, at, 4096), slice(expected, at, 4096));
    return equal;
  };
  EXPECT_EQ(equal_pieces(0), 0);
  EXPECT_EQ(equal_pieces(100), 256);
  EXPECT_NEAR(equal_pieces(50), 128, 40);
}

TEST(MergeScene, ItsTargetOpensThePoolForReadingOnly) {
  SimulatedWorld world;
  const MergeScene scene(world, ragged());
  const Job job = scene.job(std::make_shared<SimulatedDirectory>(world));
  EXPECT_EQ(job.custody->open(job.origin, OpenMode::kClaim, Bytes(512)).get(), &scene.origin());
  EXPECT_EQ(job.custody->open(job.data, OpenMode::kReadOnly, Bytes(512)).get(), &scene.data());
  EXPECT_EQ(job.custody->open(job.metadata, OpenMode::kReadOnly, Bytes(512)).get(),
            &scene.metadata());
  EXPECT_THROW(job.custody->open(job.data, OpenMode::kClaim, Bytes(512)), Error);
}

}  // namespace
}  // namespace extmerge
