// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/siblings.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>

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
    std::vector<Sibling> siblings = compare(*source, within, PlannedTree::kMostBlocks);
    reads_of_siblings = device.reads() - reads_before;
    bytes_of_siblings = device.bytes_read() - bytes_before;
    // Without bits, one by one, the result must be the same.
    const std::vector<Sibling> again = compare(*source, within, 0);
    EXPECT_EQ(again.size(), siblings.size());
    for (size_t i = 0; i < siblings.size(); ++i) {
      EXPECT_EQ(again[i].id, siblings[i].id);
      EXPECT_EQ(again[i].harmed_blocks, siblings[i].harmed_blocks) << value(siblings[i].id);
      EXPECT_EQ(again[i].unreadable, siblings[i].unreadable) << value(siblings[i].id);
    }
    return siblings;
  }

  std::vector<Sibling> compare(const ThinDevice& source, const PlanLimits& within,
                               uint64_t most_blocks) {
    constexpr DataBlock kEndOfData(1 << 20);
    PlannedTree tree(source, within, reader.nr_blocks(), most_blocks);
    summarize(reader, source, kEndOfData, within, {}, {}, {}, &tree);
    reads_before = device.reads();
    bytes_before = device.bytes_read();
    return find_siblings(reader, devices, tree, kEndOfData);
  }

  MemoryDevice device;
  MetadataReader reader;
  std::vector<ThinDevice> devices;
  uint64_t reads_before = 0;
  uint64_t bytes_before = 0;
  uint64_t reads_of_siblings = 0;
  uint64_t bytes_of_siblings = 0;
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
  EXPECT_EQ(opened.reads_of_siblings, 0u);
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

// The trees of one pool, made of common parts. A tree has a variant for each of some key ranges. A
// variant has two leaves, each one of a few.
class Patchwork {
 public:
  static constexpr uint64_t kRange = 60;

  // The tree's keys are added to `keys`.
  uint64_t tree(const std::vector<std::vector<int>>& choices, std::set<uint64_t>& keys) {
    std::vector<std::pair<uint64_t, uint64_t>> children;
    for (uint64_t range = 0; range < choices.size(); ++range) {
      const std::vector<int>& choice = choices[range];
      if (choice.empty()) continue;
      const uint64_t first = range * kRange;
      const uint64_t left = leaf(first, choice[0], keys);
      const uint64_t right = leaf(first + kRange / 2, choice[1], keys);
      const auto [known, is_new] = inner_.try_emplace({first, choice[0], choice[1]}, 0);
      if (is_new) known->second = pool.add_inner_node({{first, left}, {first + kRange / 2, right}});
      children.emplace_back(first, known->second);
    }
    return pool.add_inner_node(children);
  }

  MetadataBuilder pool{4096};

 private:
  // Every third key of the leaf's range, from one of three on, and one key more.
  uint64_t leaf(uint64_t first, int choice, std::set<uint64_t>& keys) {
    std::set<uint64_t> own{first + static_cast<uint64_t>(choice) * 5 + 1};
    for (uint64_t key = first + static_cast<uint64_t>(choice) % 3; key < first + kRange / 2;
         key += 3)
      own.insert(key);
    keys.insert(own.begin(), own.end());
    const auto [known, is_new] = leaves_.try_emplace({first, choice}, 0);
    if (is_new) known->second = pool.add_leaf(mappings(own, 100 * leaves_.size()));
    return known->second;
  }

  std::map<std::tuple<uint64_t, int, int>, uint64_t> inner_;
  std::map<std::pair<uint64_t, int>, uint64_t> leaves_;
};

TEST(Siblings, EqualSetDifferencesForManyTreesThatShareNodesWithTheSourceAndEachOther) {
  EXPECT_TRUE(rc::check([] {
    const auto leaf = rc::gen::inRange(0, 5);
    const auto variant = rc::gen::oneOf(rc::gen::just(std::vector<int>{}),
                                        rc::gen::container<std::vector<int>>(2, leaf),
                                        rc::gen::container<std::vector<int>>(2, leaf));
    const auto choices = *rc::gen::container<std::vector<std::vector<std::vector<int>>>>(
        rc::gen::container<std::vector<std::vector<int>>>(4, variant));
    const auto end = *rc::gen::inRange<uint64_t>(1, 4 * Patchwork::kRange);
    const auto most_places = *rc::gen::inRange<size_t>(1, 12);
    Patchwork patchwork;
    std::vector<std::set<uint64_t>> keys;
    for (const auto& choice : choices) {
      if (std::all_of(choice.begin(), choice.end(), [](const auto& c) { return c.empty(); }))
        continue;
      keys.emplace_back();
      const auto id = static_cast<uint32_t>(keys.size());
      patchwork.pool.add_mapping_root(id, patchwork.tree(choice, keys.back()));
      patchwork.pool.add_details(id, keys.back().size());
    }
    RC_PRE(keys.size() >= 2);
    patchwork.pool.finish();

    Pool opened(patchwork.pool);
    const auto siblings = opened.siblings_of(1, limits(end));
    RC_ASSERT(siblings.size() == keys.size() - 1);
    std::vector<MetadataBlock> roots;
    std::vector<uint64_t> mapped;
    for (size_t i = 1; i < keys.size(); ++i) {
      uint64_t harmed = 0;
      uint64_t planned = 0;
      for (const uint64_t key : keys[0]) {
        planned += key < end;
        harmed += key < end && !keys[i].contains(key);
      }
      RC_ASSERT(!siblings[i - 1].unreadable);
      RC_ASSERT(siblings[i - 1].harmed_blocks == harmed);
      roots.push_back(opened.devices[i].mapping_root);
      mapped.push_back(planned - harmed);
    }
    // In the smallest parts the result is the same.
    PlannedTree tree(opened.devices[0], limits(end), opened.reader.nr_blocks());
    summarize(opened.reader, opened.devices[0], DataBlock(1 << 20), limits(end), {}, {}, {}, &tree);
    const auto overlaps =
        count_overlaps(opened.reader, roots, tree, DataBlock(1 << 20), {}, {}, most_places);
    for (size_t i = 0; i < roots.size(); ++i) {
      RC_ASSERT(!overlaps[i].damaged);
      RC_ASSERT(overlaps[i].planned_blocks == mapped[i]);
    }
  }));
}

TEST(Siblings, RootsOfManyAreReadOnceEachInTheOrderOfTheirPlaces) {
  constexpr uint32_t kThins = 2000;
  MetadataBuilder pool(4096);
  std::vector<BuiltTree> trees;
  for (uint64_t i = 0; i < kThins; ++i) trees.push_back(pool.add_tree(mappings({1, 2, i}, 3 * i)));
  // Neighbours on the device are far apart in id.
  for (uint32_t id = 1; id <= kThins; ++id) pool.add_device(id, trees[id * 617 % kThins]);
  pool.finish();
  Pool opened(pool);
  const auto siblings = opened.siblings_of(1, limits(kThins));
  ASSERT_EQ(siblings.size(), kThins - 1);
  for (const Sibling& sibling : siblings) EXPECT_EQ(sibling.harmed_blocks, 1u);
  // One batch of 256 blocks a request; and a gap where the source's own leaf lies.
  EXPECT_LE(opened.reads_of_siblings, kThins / 256 + 2);
  EXPECT_LE(opened.bytes_of_siblings, kThins * kMetadataBlockSize);
}

TEST(Siblings, TreesThatSeveralHaveAreReadOnce) {
  MetadataBuilder pool(4096);
  const BuiltTree source = pool.add_tree(mappings({3, 400}));
  std::set<uint64_t> many;
  for (uint64_t i = 0; i < 500; ++i) many.insert(i);
  const BuiltTree other = pool.add_tree(mappings(many, 1000), {.leaf_fill = 50, .inner_fill = 5});
  const uint64_t nodes = other.levels[0].size() + other.levels[1].size() + other.levels[2].size();
  pool.add_device(1, source);
  for (uint32_t id = 2; id < 100; ++id) pool.add_device(id, other);
  // These thins have roots of their own over the same nodes.
  std::vector<std::pair<uint64_t, uint64_t>> children;
  for (size_t i = 0; i < other.levels[1].size(); ++i)
    children.emplace_back(i * 250, other.levels[1][i]);
  for (uint32_t id = 100; id < 200; ++id) {
    pool.add_mapping_root(id, pool.add_inner_node(children));
    pool.add_details(id, 500);
  }
  pool.finish();
  Pool opened(pool);
  const auto siblings = opened.siblings_of(1, limits(1000));
  ASSERT_EQ(siblings.size(), 198u);
  for (const Sibling& sibling : siblings) EXPECT_EQ(sibling.harmed_blocks, 0u);
  EXPECT_LE(opened.bytes_of_siblings, (100 + nodes) * kMetadataBlockSize);
}

TEST(Siblings, SubtreesWithoutAPlannedBlockAreNotRead) {
  MetadataBuilder pool(4096);
  pool.add_device(1, pool.add_tree(mappings({120, 121})));
  std::set<uint64_t> many;
  for (uint64_t i = 0; i < 1000; ++i) many.insert(i);
  const BuiltTree theirs = pool.add_tree(mappings(many, 5), {.leaf_fill = 50});
  pool.add_device(2, theirs);
  pool.finish();
  Pool opened(pool);
  EXPECT_EQ(opened.siblings_of(1, limits(1000))[0].harmed_blocks, 0u);
  EXPECT_EQ(opened.bytes_of_siblings, 2 * kMetadataBlockSize) << "the root and one leaf";
}

TEST(Siblings, AStopEndsTheSweep) {
  MetadataBuilder pool;
  pool.add_device(1, pool.add_tree(mappings({1})));
  pool.add_device(2, pool.add_tree(mappings({2}, 5)));
  pool.finish();
  Pool opened(pool);
  PlannedTree tree(opened.devices[0], limits(10), opened.reader.nr_blocks());
  summarize(opened.reader, opened.devices[0], DataBlock(10), limits(10), {}, {}, {}, &tree);
  std::stop_source stop;
  stop.request_stop();
  try {
    find_siblings(opened.reader, opened.devices, tree, DataBlock(10), {}, stop.get_token());
    FAIL() << "not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kStopped);
  }
}

// The sibling entry of the second of two devices after damage.
Sibling damaged_sibling(const std::function<void(MetadataBuilder&, const BuiltTree&)>& damage) {
  MetadataBuilder pool;
  pool.add_device(1, pool.add_tree(mappings({3, 5, 8, 15, 30})));
  const BuiltTree theirs =
      pool.add_tree(mappings({3, 5, 8, 15, 30}, 100), {.leaf_fill = 2, .inner_fill = 2});
  pool.add_device(2, theirs);
  pool.finish();
  damage(pool, theirs);
  return Pool(pool).siblings_of(1, limits(100)).at(0);
}

TEST(Siblings, DamageAnywhereOnTheWayToAPlannedBlockMakesOneUnreadable) {
  const auto expect_unreadable = [](const char* what, const auto& damage) {
    const Sibling sibling = damaged_sibling(damage);
    EXPECT_TRUE(sibling.unreadable) << what;
    EXPECT_EQ(sibling.harmed_blocks, 5u) << what;
  };
  const auto change = [](uint64_t block, uint32_t i, uint64_t to) {
    return [=](MetadataBuilder& pool, const BuiltTree&) {
      pool.value(block, i).set(to);
      pool.fix_checksum(block);
    };
  };
  BuiltTree tree;
  EXPECT_FALSE(damaged_sibling([&](MetadataBuilder&, const BuiltTree& t) { tree = t; }).unreadable);
  ASSERT_EQ(tree.levels.size(), 3u);
  expect_unreadable("a child outside the device", change(tree.root(), 1, 5000));
  expect_unreadable("a child in block 0", change(tree.root(), 1, 0));
  expect_unreadable("a leaf where an inner node belongs",
                    change(tree.root(), 1, tree.leaves().back()));
  expect_unreadable("a child twice", change(tree.levels[1][0], 1, tree.leaves()[0]));
  expect_unreadable("a cycle", change(tree.levels[1][0], 0, tree.root()));
  expect_unreadable("data past the end", change(tree.leaves()[1], 0, uint64_t{1} << 60));
  expect_unreadable("a key out of its range", [&](MetadataBuilder& pool, const BuiltTree& t) {
    pool.key(t.leaves()[1], 0).set(4);
    pool.fix_checksum(t.leaves()[1]);
  });
  expect_unreadable("a checksum", [&](MetadataBuilder& pool, const BuiltTree& t) {
    pool.value(t.leaves()[2], 0).set(1);
  });
}

// Whether thin 2, made at time 5, is shown to descend from thin 1, made at time 3.
bool descends(const std::vector<BuiltMapping>& older, const std::vector<BuiltMapping>& younger,
              const std::function<void(ThinDevice&, ThinDevice&)>& change = {}) {
  MetadataBuilder builder;
  builder.add_device(1, builder.add_tree(older));
  builder.add_device(2, builder.add_tree(younger));
  builder.finish();
  Pool pool(builder);
  ThinDevice one = pool.devices[0], two = pool.devices[1];
  one.creation_time = 3;
  one.snapshotted_time = two.creation_time = two.snapshotted_time = 5;
  if (change) change(one, two);
  return is_descendant(pool.reader, two, one, DataBlock(1 << 20), {});
}

TEST(Descent, IsShownByABlockThatTheOlderThinWroteItself) {
  const BuiltMapping inherited{3, 30, 2}, own{5, 50, 3}, later{5, 51, 5}, other{7, 70, 6};
  EXPECT_TRUE(descends({inherited, own}, {inherited, own, other}));
  EXPECT_TRUE(descends({own, {7, 71, 6}}, {own, other}));
  EXPECT_FALSE(descends({inherited, own}, {inherited, later})) << "both may be of a third thin";
  EXPECT_FALSE(descends({own}, {later, other})) << "overwritten";
  EXPECT_FALSE(descends({own}, {})) << "discarded";
  EXPECT_FALSE(descends({{4, 50, 3}}, {own}));
}

TEST(Descent, NeedsAnOlderThinThatWasSnapshotted) {
  const BuiltMapping own{5, 50, 3};
  EXPECT_FALSE(descends({own}, {own}, [](ThinDevice& one, ThinDevice&) {
    one.snapshotted_time = one.creation_time;
  }));
  EXPECT_FALSE(descends({own}, {own}, [](ThinDevice& one, ThinDevice& two) {
    two.creation_time = one.creation_time;
  }));
  EXPECT_FALSE(descends({own}, {own}, [](ThinDevice&, ThinDevice& two) {
    two.creation_time = kEndOfTimes;  // times began again
  }));
}

}  // namespace
}  // namespace extmerge
