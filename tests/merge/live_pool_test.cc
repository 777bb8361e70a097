// SPDX-License-Identifier: GPL-3.0-or-later
//
// The main path on a pool with a live tree beside the metadata snapshot. The live tree has changed,
// changes during the merge, or is damaged.

#include <gtest/gtest.h>

#include "tests/merge/merge_fixture.h"

namespace extmerge {
namespace {

TEST_F(LivePool, AThinThatHasMovedOnIsStale) {
  use_metadata([&](MetadataBuilder& pool) { move_live_root(pool, other_root); });
  EXPECT_EQ(merge_failure(), MessageId::kStale);
  options.overrides.allow_stale = true;
  EXPECT_EQ(merge().state, JournalState::kDone);
  expect_merged();
}

TEST_F(LivePool, AThinThatMovesOnWhileTheQuestionWaitsIsNotMerged) {
  use_metadata([](MetadataBuilder&) {});
  const std::vector<std::byte> before = scene->origin().contents();
  const auto confirm = [&](const PlanReport&) {
    MetadataBuilder later = *builder;
    move_live_root(later, other_root);
    metadata->overwrite(Bytes(0), later.image());
    return true;
  };
  EXPECT_EQ(failure([&] { merger().merge(confirm); }), MessageId::kStale);
  expect_untouched(before);
  EXPECT_EQ(Journal::open(*directory, "journal", false), nullptr);
  options.overrides.allow_stale = true;
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(LivePool, AMetadataSnapshotThatIsReleasedWhileTheQuestionWaitsIsNotMerged) {
  use_metadata([](MetadataBuilder&) {});
  const std::vector<std::byte> before = scene->origin().contents();
  const auto confirm = [&](const PlanReport&) {
    MetadataBuilder later = *builder;
    later.superblock().held_root.set(0);
    later.fix_checksum(0);
    metadata->overwrite(Bytes(0), later.image());
    return true;
  };
  EXPECT_EQ(failure([&] { merger().merge(confirm); }), MessageId::kMetadataSnapshotGone);
  expect_untouched(before);
}

TEST_F(LivePool, AThinThatMovesOnDuringTheMergeIsNotCalledDone) {
  use_metadata([](MetadataBuilder&) {});
  bool moved = false;
  world.on_operation([&](const Operation& op) {
    if (moved || op.kind != OperationKind::kWrite) return;
    moved = true;
    MetadataBuilder later = *builder;
    move_live_root(later, other_root);
    metadata->overwrite(Bytes(0), later.image());
  });
  EXPECT_EQ(merge_failure(), MessageId::kStale);
  EXPECT_TRUE(moved);
  EXPECT_EQ(Journal::open(*directory, "journal", false)->state(), JournalState::kCopying);
}

TEST_F(LivePool, MetadataThatIsLostDuringTheMergeIsNotCalledDone) {
  use_metadata([](MetadataBuilder&) {});
  bool lost = false;
  world.on_operation([&](const Operation& op) {
    if (lost || op.kind != OperationKind::kWrite) return;
    lost = true;
    metadata->overwrite(Bytes(0), std::vector<std::byte>(builder->image().size()));
  });
  EXPECT_EQ(merge_failure(), MessageId::kMetadataDamaged);
  EXPECT_TRUE(lost);
  EXPECT_EQ(Journal::open(*directory, "journal", false)->state(), JournalState::kCopying);
}

// After a repair, the same mappings are below another root.
TEST_F(LivePool, AMovedTreeWithTheSameMappingsIsGoneOnWith) {
  use_metadata([](MetadataBuilder&) {});
  merge_in_part();
  ASSERT_GT(Journal::open(*directory, "journal", false)->progress().position, Bytes(0));
  use_metadata([&](MetadataBuilder& pool) { move_live_root(pool, other_root); }, RootChoice::kLive);
  EXPECT_EQ(merger().resume().state, JournalState::kDone);
  expect_merged();
}

TEST_F(LivePool, ALiveTreeTooDamagedToTellIsANote) {
  use_metadata([](MetadataBuilder& pool) {
    pool.superblock().data_mapping_root.set(200);  // nothing is there
    pool.fix_checksum(0);
  });
  const PlanReport report = merger().plan();
  EXPECT_TRUE(report.refusals.empty());
  ASSERT_FALSE(report.notes.empty());
  EXPECT_NE(report.notes[0].find("live metadata could not be read"), std::string::npos);
}

TEST_F(LivePool, APoolThatNeedsCheckIsRefused) {
  use_metadata([](MetadataBuilder& pool) {
    pool.superblock().flags.set(kFlagNeedsCheck);
    pool.fix_checksum(0);
  });
  EXPECT_EQ(merge_failure(), MessageId::kNeedsCheck);
}

TEST_F(LivePool, WithoutAMetadataSnapshotTheLiveTreeMustBeAskedFor) {
  const auto release = [](MetadataBuilder& pool) {
    pool.superblock().held_root.set(0);
    pool.fix_checksum(0);
  };
  use_metadata(release);
  EXPECT_EQ(merge_failure(), MessageId::kNoMetadataSnapshot);
  use_metadata(release, RootChoice::kLive);
  const MergeReport report = merge();
  EXPECT_EQ(report.plan.metadata_snap, MetadataBlock(0));
  expect_merged();
}

TEST_F(LivePool, AGivenSuperblockIsReadEvenIfTheLiveOneIsDamaged) {
  use_metadata([](MetadataBuilder& pool) { pool.superblock().magic.set(0); }, RootChoice::kBlock);
  job->root_block = MetadataBlock(builder->held_root());
  EXPECT_EQ(merge().state, JournalState::kDone);
  expect_merged();
}

TEST_F(LivePool, AMetadataSnapshotReleasedWhileItIsReadIsNoticed) {
  use_metadata([](MetadataBuilder&) {});
  uint64_t reads = 0;
  world.on_operation([&](const Operation& op) {
    if (op.object != "/images/metadata" || ++reads != 4) return;
    MetadataBuilder later = *builder;
    later.superblock().held_root.set(0);
    later.fix_checksum(0);
    metadata->overwrite(Bytes(0), later.image());
  });
  EXPECT_EQ(merge_failure(), MessageId::kMetadataSnapshotGone);
}

TEST_F(LivePool, AnAbsentThinIdIsRefusedWithTheOnesThereAre) {
  use_metadata([](MetadataBuilder&) {});
  job->thin_id = ThinId{5};
  EXPECT_EQ(merge_failure(), MessageId::kThinIdAbsent);
  EXPECT_NE(words.find("which has 1"), std::string::npos);
}

TEST_F(LivePool, ADamagedTreeLeavesTheOriginUntouched) {
  const auto before = scene->origin().contents();
  use_metadata([](MetadataBuilder& pool) {
    pool.value(pool.mapping_roots().root(), 0).set(200);
    pool.fix_checksum(pool.mapping_roots().root());
  });
  EXPECT_EQ(merge_failure(), MessageId::kMetadataDamaged);
  expect_untouched(before);
  EXPECT_TRUE(directory->names().empty());
}

}  // namespace
}  // namespace extmerge
