// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/siblings.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>

#include "tests/support/memory_device.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {
namespace {

PlanLimits limits(uint64_t end_block) {
  return {DataBlockSize(Bytes(kBlock)), Bytes(end_block * kBlock), std::nullopt};
}

struct Pool {
  explicit Pool(MetadataBuilder& builder)
      : device(builder.image()),
        reader(device),
        devices(read_devices(reader, reader.live_superblock())) {}

  std::vector<Sibling> siblings_of(uint32_t id, const PlanLimits& within) {
    const auto source = std::find_if(devices.begin(), devices.end(),
                                     [&](const ThinDevice& d) { return value(d.id) == id; });
    PlannedRuns runs(reader, *source, DataBlock(1 << 20), within);
    Run run;
    while (runs.next(run)) {
    }
    reads_before = device.reads();
    return find_siblings(reader, devices, *source, runs.visited(), DataBlock(1 << 20), within,
                         runs.summary().copy_blocks);
  }

  MemoryDevice device;
  MetadataReader reader;
  std::vector<ThinDevice> devices;
  uint64_t reads_before = 0;
};

std::vector<BuiltMapping> mappings(const std::set<uint64_t>& thin_blocks, uint64_t data = 0) {
  std::vector<BuiltMapping> result;
  for (const uint64_t thin : thin_blocks) result.push_back({thin, data++});
  return result;
}

TEST(Siblings, OneThatMapsEveryPlannedBlockIsNotHarmed) {
  MetadataBuilder pool;
  pool.add_device(1, pool.add_tree(mappings({3, 5})));
  pool.add_device(2, pool.add_tree(mappings({3, 4, 5}, 100)));
  pool.finish();
  const auto siblings = Pool(pool).siblings_of(1, limits(100));
  ASSERT_EQ(siblings.size(), 1u);
  EXPECT_EQ(siblings[0].id, ThinId{2});
  EXPECT_EQ(siblings[0].harmed_blocks, 0u);
}

TEST(Siblings, EachPlannedBlockItDoesNotMapHarmsIt) {
  MetadataBuilder pool;
  pool.add_device(1, pool.add_tree(mappings({3, 5, 8, 9})));
  pool.add_device(2, pool.add_tree(mappings({4, 5}, 100)));
  pool.add_device(7, pool.add_tree({}));
  pool.finish();
  const auto siblings = Pool(pool).siblings_of(1, limits(9));
  ASSERT_EQ(siblings.size(), 2u);
  EXPECT_EQ(siblings[0].harmed_blocks, 2u) << "3 and 8; 9 is past the plan's end";
  EXPECT_EQ(siblings[1].harmed_blocks, 3u);
}

TEST(Siblings, SubtreesSharedWithTheSourceAreNotRead) {
  MetadataBuilder pool(8192);
  std::vector<BuiltMapping> many;
  for (uint64_t i = 0; i < 20000; ++i) many.push_back({i, i});
  const BuiltTree tree = pool.add_tree(many, {.leaf_fill = 100, .inner_fill = 20});
  pool.add_device(1, tree);
  for (uint32_t id = 2; id < 50; ++id) pool.add_device(id, tree);
  pool.finish();
  Pool opened(pool);
  const auto siblings = opened.siblings_of(1, limits(20000));
  ASSERT_EQ(siblings.size(), 48u);
  for (const Sibling& s : siblings) EXPECT_EQ(s.harmed_blocks, 0u);
  EXPECT_EQ(opened.device.reads(), opened.reads_before);
}

TEST(Siblings, OneThatCannotBeReadCountsAsHarmedThroughout) {
  MetadataBuilder pool;
  pool.add_device(1, pool.add_tree(mappings({3, 5, 8})));
  const BuiltTree theirs = pool.add_tree(mappings({3, 5, 8}, 100));
  pool.add_device(2, theirs);
  pool.finish();
  pool.header(theirs.root()).nr_entries.set(1);  // and the checksum is wrong
  const auto siblings = Pool(pool).siblings_of(1, limits(100));
  ASSERT_EQ(siblings.size(), 1u);
  EXPECT_TRUE(siblings[0].unreadable);
  EXPECT_EQ(siblings[0].harmed_blocks, 3u);
}

TEST(Siblings, EqualsSetDifferenceForAnyTwoTreesThatShareLeaves) {
  EXPECT_TRUE(rc::check([] {
    const auto common = *rc::gen::container<std::set<uint64_t>>(rc::gen::inRange<uint64_t>(0, 300));
    const auto ours_only =
        *rc::gen::container<std::set<uint64_t>>(rc::gen::inRange<uint64_t>(300, 600));
    const auto theirs_only =
        *rc::gen::container<std::set<uint64_t>>(rc::gen::inRange<uint64_t>(300, 600));
    RC_PRE(!common.empty() && !ours_only.empty() && !theirs_only.empty());
    const auto end = *rc::gen::inRange<uint64_t>(1, 600);

    MetadataBuilder pool(4096);
    const TreeShape shape{.leaf_fill = 4, .inner_fill = 3};
    const BuiltTree shared = pool.add_tree(mappings(common), shape);
    // Two roots over one shared subtree and one of their own each, all of one depth.
    const auto device = [&](uint32_t id, const std::set<uint64_t>& own, uint64_t data) {
      BuiltTree mine = pool.add_tree(mappings(own, data), shape);
      uint64_t left = shared.root(), right = mine.root();
      size_t left_depth = shared.levels.size(), right_depth = mine.levels.size();
      for (; left_depth < right_depth; ++left_depth)
        left = pool.add_inner_node({{*common.begin(), left}});
      for (; right_depth < left_depth; ++right_depth)
        right = pool.add_inner_node({{*own.begin(), right}});
      pool.add_mapping_root(id,
                            pool.add_inner_node({{*common.begin(), left}, {*own.begin(), right}}));
      pool.add_details(id, common.size() + own.size());
    };
    device(1, ours_only, 1000);
    device(2, theirs_only, 2000);
    pool.finish();

    uint64_t expected = 0;
    for (const uint64_t b : ours_only) expected += b < end && !theirs_only.contains(b);
    const auto siblings = Pool(pool).siblings_of(1, limits(end));
    RC_ASSERT(siblings.size() == 1u);
    RC_ASSERT(!siblings[0].unreadable);
    RC_ASSERT(siblings[0].harmed_blocks == expected);
  }));
}

}  // namespace
}  // namespace extmerge
