// SPDX-License-Identifier: GPL-3.0-or-later
//
// Siblings in another pool, with blocks of its own size: how many would change, and who is refused.

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "merge/merge.h"
#include "tests/support/memory_device.h"
#include "tests/support/merge_scene.h"
#include "tests/support/metadata_builder.h"
#include "tests/support/thin_pool.h"

namespace extmerge {
namespace {

constexpr uint64_t kUnit = ThinPool::kBlockSize;
constexpr DataBlock kEndOfData(1 << 20);

class GivenRuns : public RunSource {
 public:
  explicit GivenRuns(std::vector<Run> runs) : runs_(std::move(runs)) {}
  bool next(Run& run) override {
    if (at_ == runs_.size()) return false;
    run = runs_[at_++];
    return true;
  }

 private:
  const std::vector<Run> runs_;
  size_t at_ = 0;
};

// A plan by chance, its limits, and the bytes that it has, in units of 4 KiB.
struct Plan {
  explicit Plan(std::mt19937_64& random) {
    const uint64_t size = (1 + random() % 5) * kUnit;
    std::vector<Run> runs;
    for (uint64_t block = random() % 3; block < 40; block += 1 + random() % 4) {
      const uint64_t blocks = 1 + random() % 3;
      runs.push_back({ThinBlock(block), DataBlock(random() % 1000), blocks});
      block += blocks - random() % 2;  // runs may touch
      if (runs.size() > 1 && runs.back().thin.value() <
                                 runs[runs.size() - 2].thin.value() + runs[runs.size() - 2].blocks)
        runs.pop_back();
    }
    const uint64_t last = (runs.back().thin + runs.back().blocks).value();
    limits = {DataBlockSize(Bytes(size)), Bytes(last * size - random() % (size / 4096) * 4096),
              std::nullopt};
    for (const Run& run : runs) {
      const Extent extent = to_extent(run, limits);
      for (uint64_t at = 0; at < extent.length.value(); at += 4096)
        units.insert((extent.origin_offset.value() + at) / 4096);
    }
    source = [runs] { return std::make_unique<GivenRuns>(runs); };
  }
  // The blocks of that size that have a planned byte, by the units.
  std::set<uint64_t> blocks_of(DataBlockSize size) const {
    std::set<uint64_t> blocks;
    for (const uint64_t unit : units) blocks.insert(unit * 4096 / size.bytes().value());
    return blocks;
  }

  PlanLimits limits;
  PlanRuns source;
  std::set<uint64_t> units;
};

TEST(RescaledRuns, HaveEachBlockThatHoldsAPlannedByteOnce) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const Plan plan(random);
    const DataBlockSize size(Bytes((1 + random() % 7) * kUnit));
    const auto runs = rescaled_to(size, plan.limits, plan.source)();
    std::vector<uint64_t> blocks;
    for (extmerge::Run run; runs->next(run);) {
      for (uint64_t block = 0; block < run.blocks; ++block)
        blocks.push_back((run.thin + block).value());
    }
    const std::set<uint64_t> expected = plan.blocks_of(size);
    ASSERT_EQ(blocks, std::vector(expected.begin(), expected.end())) << i;
  }
}

TEST(SiblingsElsewhere, AreCountedWithBitsAndOneByOneAlike) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 100; ++i) {
    const Plan plan(random);
    const DataBlockSize size(Bytes((1 + random() % 7) * kUnit));
    const std::set<uint64_t> planned = plan.blocks_of(size);
    MetadataBuilder builder;
    std::vector<uint64_t> expected;
    for (uint32_t id = 1; id <= 4; ++id) {
      std::vector<BuiltMapping> mappings;
      uint64_t harmed = planned.size();
      for (uint64_t block = 0; block < 60; ++block) {
        if (random() % 4 < id - 1) continue;
        mappings.push_back({block, mappings.size()});
        harmed -= planned.contains(block);
      }
      builder.add_device(id, builder.add_tree(mappings, {.leaf_fill = 7, .inner_fill = 3}));
      expected.push_back(harmed);
    }
    builder.finish();
    MemoryDevice device(builder.image());
    MetadataReader reader(device);
    const std::vector<ThinDevice> devices = read_devices(reader, reader.live_superblock());
    const PlanRuns runs = rescaled_to(size, plan.limits, plan.source);
    for (const uint64_t bits : {PlannedTree::kMostBlocks, uint64_t{0}}) {
      const PlannedTree tree(*runs(), plan.limits.in_blocks_of(size), reader.nr_blocks(), bits);
      ASSERT_EQ(tree.has_all_bits(), bits > 0);
      const auto siblings = find_siblings(reader, devices, tree, kEndOfData, {}, {}, runs);
      ASSERT_EQ(siblings.size(), expected.size());
      for (size_t one = 0; one < expected.size(); ++one)
        ASSERT_EQ(siblings[one].harmed_blocks, expected[one]) << i << ", thin " << one + 1;
    }
  }
}

// Trees with a root of their own over the same leaves, and one with a leaf at another depth.
TEST(SiblingsElsewhere, ShareLeavesThatAreReadOnceAlsoInParts) {
  constexpr uint64_t kLeaves = 20, kTrees = 30, kEntries = 10;
  MetadataBuilder builder;
  std::vector<std::pair<uint64_t, uint64_t>> leaves;
  for (uint64_t i = 0; i < kLeaves; ++i) {
    std::vector<BuiltMapping> mappings;
    for (uint64_t entry = 0; entry < kEntries; ++entry)
      mappings.push_back({2 * (i * kEntries + entry), entry});
    leaves.emplace_back(mappings.front().thin, builder.add_leaf(mappings));
  }
  std::vector<MetadataBlock> roots;
  for (uint64_t i = 0; i < kTrees; ++i) roots.emplace_back(builder.add_inner_node(leaves));
  const uint64_t deep = builder.add_inner_node({leaves[0]});
  auto odd = leaves;
  odd[0].second = deep;
  roots.emplace_back(builder.add_inner_node(odd));
  builder.finish();
  MemoryDevice device(builder.image());
  MetadataReader reader(device);
  const PlanLimits limits{DataBlockSize(Bytes(kUnit)), Bytes(1000 * kUnit), std::nullopt};
  GivenRuns everything({{ThinBlock(0), DataBlock(0), 1000}});
  const PlannedTree planned(everything, limits, reader.nr_blocks());
  const uint64_t before = device.bytes_read();
  const auto overlaps = count_overlaps(reader, roots, planned, kEndOfData, {}, {}, 1);
  for (uint64_t i = 0; i < kTrees; ++i) {
    EXPECT_FALSE(overlaps[i].damaged);
    EXPECT_EQ(overlaps[i].planned_blocks, kLeaves * kEntries);
  }
  EXPECT_TRUE(overlaps[kTrees].damaged);
  EXPECT_LT((device.bytes_read() - before) / kMetadataBlockSize, 6 * kTrees + kLeaves);
}

// Thin 1 is merged. Thin 1 of the other pool reads the same origin; its blocks are three times as
// long.
class SiblingElsewhere : public testing::Test {
 protected:
  SiblingElsewhere() {
    options.pipeline.threads = 1;
    pool.create(1);
    for (const uint64_t block : std::initializer_list<uint64_t>{1, 2, 5, 10}) pool.write(1, block);
    other.create(1);
    for (const uint64_t block : std::initializer_list<uint64_t>{0, 1, 3}) other.write(1, block);
    expected = pool.view(1);
    view = other.view(1);
    pool.commit();
    other.commit();
    job = pool.job(directory, 1);
    job.origin_users = {{{ThinId{1}, "vg/far", false, "pool2", "LVM-far"}}};
    SceneCustody& custody = custody_of(job);
    custody.on_reserve = [] {};
    custody.on_reserve_pool = [this](const std::string& name) {
      EXPECT_EQ(name, "pool2");
      if (++holds == refused_hold) throw held;
      if (before_hold) before_hold();
      other.commit();
      const Job facts = other.job(directory, 1);
      return PoolDevices{facts.metadata, facts.data};
    };
    custody.on_release_pool = [this] { ++releases; };
    custody.on_open = [this, open = custody.on_open](const DeviceFacts& facts, OpenMode mode,
                                                     Bytes ends) -> std::shared_ptr<BlockDevice> {
      if (facts.path == other.metadata()->name()) return other.metadata();
      return open(facts, mode, ends);
    };
  }
  MessageId merge_failure() {
    try {
      Merger merger(job, options, progress, {});
      merger.merge([](const PlanReport&) { return true; });
      return MessageId::kInternal;
    } catch (const Error& error) {
      words = std::string(error.what()) + "\n" + error.next();
      return error.id();
    }
  }
  JournalState journal_state() { return Journal::open(*directory, "journal", false)->state(); }

  SimulatedWorld world;
  ThinPool pool{world, 11, 32};
  ThinPool other{world, pool, "other", 3 * kUnit, 16};
  std::shared_ptr<SimulatedDirectory> directory = std::make_shared<SimulatedDirectory>(world);
  MergeOptions options;
  Progress progress;
  Job job;
  ThinPool::Contents expected, view;
  int holds = 0, releases = 0, refused_hold = 0;
  std::function<void()> before_hold;
  const Error held{MessageId::kMetadataSnapshotHeld, "the pool pool2 holds one", "release it"};
  std::string words;
};

TEST_F(SiblingElsewhere, ThatMapsAllOfThePlanIsNoObstacle) {
  EXPECT_EQ(merge_failure(), MessageId::kInternal) << words;
  EXPECT_EQ(first_difference(pool.origin().contents(), expected), "");
  EXPECT_EQ(first_difference(other.view(1), view), "");
  EXPECT_EQ(holds, 2) << "for the plan, and before DONE";
  EXPECT_EQ(releases, 2);
}

TEST_F(SiblingElsewhere, ThatLacksABlockOfItsOwnPoolIsRefused) {
  other.discard(1, 1);
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  EXPECT_NE(words.find("vg/far (1 block)"), std::string::npos) << words;
  EXPECT_EQ(releases, 1);
}

TEST_F(SiblingElsewhere, ThatDiscardsABlockDuringTheMergeIsNoSuccess) {
  before_hold = [this] {
    if (holds == 2) other.discard(1, 3);
  };
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  EXPECT_NE(words.find("vg/far discarded 1 block during the merge"), std::string::npos) << words;
  EXPECT_EQ(journal_state(), JournalState::kCopying);
}

TEST_F(SiblingElsewhere, WhoseMappingsCannotBeReadCountsAsHarmedThroughoutWithTheReason) {
  refused_hold = 1;
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  EXPECT_NE(words.find("vg/far (its mappings are not known: the pool pool2 holds one)"),
            std::string::npos)
      << words;
  EXPECT_NE(words.find("release it; or merge or remove"), std::string::npos) << words;
  EXPECT_TRUE(directory->names().empty());
  EXPECT_EQ(releases, 0) << "nothing was reserved";
  // The option --keep-siblings changes nothing about it.
  options.overrides.keep_siblings = true;
  refused_hold = 2;
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
}

TEST_F(SiblingElsewhere, WhoseMappingsCannotBeReadAgainBeforeDoneIsNoSuccess) {
  refused_hold = 2;
  EXPECT_EQ(merge_failure(), MessageId::kMetadataSnapshotHeld);
  EXPECT_EQ(journal_state(), JournalState::kCopying);
  EXPECT_EQ(merge_failure(), MessageId::kInternal) << words;
  EXPECT_EQ(journal_state(), JournalState::kDone);
}

TEST_F(SiblingElsewhere, ThatIsGoneBeforeDoneIsNoObstacle) {
  before_hold = [this] {
    if (holds == 2) other.remove(1);
  };
  EXPECT_EQ(merge_failure(), MessageId::kInternal) << words;
}

TEST_F(SiblingElsewhere, IsKnownByItsUuidAmongTheHoldersOfTheOrigin) {
  job.origin.is_block = true;
  job.origin.holders = {{"dm-7", 7}};
  job.origin_thins = {{.device_number = 7, .name = "vg-far", .id = ThinId{1}}};
  job.origin_thins[0].uuid = "LVM-far";
  PlanFacts facts;
  facts.siblings = {{.id = ThinId{1}, .name = "vg/far", .certain = true, .pool = "pool2"}};
  EXPECT_FALSE(check_holders(facts, job, {}));
  job.origin_thins[0].uuid = "LVM-else";
  EXPECT_TRUE(check_holders(facts, job, {}));
  job.origin_thins[0].uuid = (*job.origin_users)[0].uuid = "";
  EXPECT_TRUE(check_holders(facts, job, {}));
}

// A thin of this pool has the same id.
TEST_F(SiblingElsewhere, IsNotTakenForAThinOfThisPool) {
  job.origin.is_block = true;
  job.origin.holders = {{"dm-8", 8}};
  job.origin_thins = {
      {.device_number = 8, .name = "vg-young", .id = ThinId{2}, .of_this_pool = true}};
  PlanFacts facts;
  facts.siblings = {{.id = ThinId{2}, .name = "vg/far", .certain = true, .pool = "pool2"}};
  EXPECT_TRUE(check_holders(facts, job, {}));
}

}  // namespace
}  // namespace extmerge
