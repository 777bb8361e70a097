// SPDX-License-Identifier: GPL-3.0-or-later
//
// A metadata snapshot of an LVM source, which is held only while mappings are read.

#include <gtest/gtest.h>

#include "tests/merge/named_source_fixture.h"

namespace extmerge {
namespace {

TEST_F(NamedSource, MappingsAreGivenUpOnceBetweenTheJournalAndTheCopy) {
  use_other(kAll);
  users({});
  int calls = 0;
  uint64_t origin_writes = 0, metadata_reads = 0, reads_then = 0;
  world.on_operation([&](const Operation& op) {
    origin_writes += op.kind == OperationKind::kWrite && op.object == scene->origin().name();
    metadata_reads += op.kind == OperationKind::kRead && op.object == "/images/metadata";
  });
  uint64_t writes_then = 0;
  custody_of(*job).on_release = [&] {
    if (++calls > 1) return;
    EXPECT_EQ(origin_writes, 0u);
    EXPECT_TRUE(directory->has_file("journal"));
    EXPECT_EQ(journal_state(), JournalState::kCopying) << "published";
    reads_then = metadata_reads;
    // The pool after the release.
    MetadataBuilder later = *builder;
    later.superblock().held_root.set(0);
    later.fix_checksum(0);
    metadata->overwrite(Bytes(0), later.image());
  };
  custody_of(*job).on_reserve = [&] {
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(metadata_reads, reads_then) << "while nothing is held";
    writes_then = origin_writes;
    metadata->overwrite(Bytes(0), builder->image());
  };
  expect_done();
  EXPECT_EQ(calls, 2);
  EXPECT_GT(origin_writes, 0u);
  EXPECT_EQ(origin_writes, writes_then) << "all is copied before the pool is looked at again";
  EXPECT_GT(reads_then, 0u);
  world.on_operation({});
  expect_merged();
}

TEST_F(NamedSource, MappingsAreGivenUpByAResumeToo) {
  use_other(kAll);
  users({});
  merge_in_part();
  int calls = 0;
  custody_of(*job).on_release = [&] { ++calls; };
  EXPECT_EQ(merger().resume().state, JournalState::kDone);
  EXPECT_EQ(calls, 2) << "the second is of the look at the end";
}

TEST_F(NamedSource, APlanDoesNotGiveThemUp) {
  use_other(kAll);
  users({});
  int calls = 0;
  custody_of(*job).on_release = [&] { ++calls; };
  merger().plan();
  EXPECT_EQ(calls, 0);
}

TEST_F(NamedSource, AMetadataSnapshotThatIsNotOursMustStayToTheEnd) {
  use_other(kAll);
  users({});
  bool released = false;
  world.on_operation([&](const Operation& op) {
    if (released || op.kind != OperationKind::kWrite || op.object != scene->origin().name()) return;
    released = true;
    MetadataBuilder later = *builder;
    later.superblock().held_root.set(0);
    later.fix_checksum(0);
    metadata->overwrite(Bytes(0), later.image());
  });
  EXPECT_EQ(merge_failure(), MessageId::kMetadataSnapshotGone);
  EXPECT_TRUE(released);
}

TEST_F(NamedSource, AThinThatMovesOnAfterTheMappingsWereReadIsNoticed) {
  use_other(kAll);
  users({});
  custody_of(*job).on_reserve = [&] {
    MetadataBuilder later = *builder;
    const uint64_t roots =
        later.mapping_roots().root();       // the live and the held superblock share it
    later.value(roots, 0).set(other_root);  // thin 1
    later.fix_checksum(roots);
    metadata->overwrite(Bytes(0), later.image());
  };
  EXPECT_EQ(merge_failure(), MessageId::kStale) << words;
  EXPECT_EQ(journal_state(), JournalState::kCopying);
}

TEST_F(NamedSource, APoolThatGivesNoMetadataSnapshotAtTheEndIsNoObstacleWithoutSiblings) {
  for (const MessageId id : {MessageId::kMetadataSnapshotHeld, MessageId::kUnfitPool,
                             MessageId::kNeedsCheck, MessageId::kPoolFull}) {
    for (const bool has_sibling : {false, true}) {
      set_up(plain_shape());
      use_other(kAll);
      if (has_sibling)
        users({{kOther, "vg/other"}});
      else
        users({});
      custody_of(*job).on_reserve = [id] { throw Error(id, "there is none", "wait"); };
      if (has_sibling) {
        EXPECT_EQ(merge_failure(), id);
        EXPECT_EQ(journal_state(), JournalState::kCopying);
      } else {
        expect_done();
        expect_merged();
      }
    }
  }
}

TEST_F(NamedSource, WithoutAMetadataSnapshotAtTheEndTheLiveTreeTellsOfTheThin) {
  use_other(kAll);
  users({});
  custody_of(*job).on_reserve = [this] {
    MetadataBuilder later = *builder;
    const uint64_t roots = later.mapping_roots().root();
    later.value(roots, 0).set(other_root);
    later.fix_checksum(roots);
    metadata->overwrite(Bytes(0), later.image());
    throw Error(MessageId::kMetadataSnapshotHeld, "one is held", "wait");
  };
  EXPECT_EQ(merge_failure(), MessageId::kStale);
}

}  // namespace
}  // namespace extmerge
