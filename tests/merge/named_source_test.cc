// SPDX-License-Identifier: GPL-3.0-or-later
//
// The additions of an LVM source to a merge (merge/job.h): known siblings, a freeze, a metadata
// snapshot that is released once the mappings are read, an origin that LVM can take back.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/merge/merge_fixture.h"

namespace extmerge {
namespace {

// The plan is 6 blocks: 0, 1, 4, 6, 7 and 11 of thin 1.
class NamedSource : public LivePool {
 protected:
  static constexpr ThinId kOther{2};

  // A pool in which thin 2 maps those blocks.
  void use_other(const std::vector<uint64_t>& blocks) {
    use_metadata([](MetadataBuilder&) {}, RootChoice::kHeld, blocks);
  }
  void use_metadata(const std::function<void(MetadataBuilder&)>& change,
                    RootChoice choice = RootChoice::kHeld,
                    const std::vector<uint64_t>& other_blocks = {0, 1, 4, 6, 7, 11}) {
    std::vector<BuiltMapping> mappings;
    for (const uint64_t block : other_blocks) mappings.push_back({block, mappings.size()});
    other_mappings = mappings;
    LivePool::use_metadata(change, choice);
  }
  void add_devices(MetadataBuilder& pool) override {
    pool.add_device(value(kOther), pool.add_tree(other_mappings));
  }
  // Sets the users of the origin, as LVM lists them.
  void users(const std::vector<OriginUser>& list) { job->origin_users = list; }
  void expect_done() { EXPECT_EQ(merge().state, JournalState::kDone) << words; }
  JournalState journal_state() { return Journal::open(*directory, "journal", false)->state(); }
  Bytes recorded_position() {
    return Journal::open(*directory, "journal", false)->progress().position;
  }

  std::vector<BuiltMapping> other_mappings;
};

const std::vector<uint64_t> kAll = {0, 1, 4, 6, 7, 11};

// --- siblings that are known ------------------------------------------------

TEST_F(NamedSource, AKnownSiblingThatWouldChangeIsNamedAndRefused) {
  use_other({0, 7});
  users({{kOther, "vg/other"}});
  const auto before = scene->origin().contents();
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  EXPECT_NE(words.find("vg/other (4 blocks)"), std::string::npos) << words;
  expect_untouched(before);
  EXPECT_TRUE(directory->names().empty());
  options.overrides.allow_shared_origin = true;
  expect_done();
  expect_merged();
}

TEST_F(NamedSource, AKnownSiblingThatMapsAllOfThePlanIsNoObstacle) {
  use_other(kAll);
  users({{kOther, "vg/other"}});
  const MergeReport report = merge();
  EXPECT_EQ(report.state, JournalState::kDone);
  EXPECT_TRUE(report.plan.siblings_are_known);
  ASSERT_EQ(report.plan.siblings.size(), 1u);
  EXPECT_EQ(report.plan.siblings[0].name, "vg/other");
  EXPECT_EQ(report.plan.siblings[0].harmed_blocks, 0u);
  EXPECT_TRUE(report.plan.siblings[0].certain);
}

TEST_F(NamedSource, AllHarmedSiblingsAreNamed) {
  use_other({0, 1, 4, 6, 7});
  users({{kOther, "vg/other"}, {kOther, "wg/far", false}});
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  EXPECT_NE(words.find("vg/other (1 block), wg/far"), std::string::npos) << words;
}

TEST_F(NamedSource, OneInAnotherPoolCountsAsHarmedThroughout) {
  use_other(kAll);
  users({{kOther, "wg/far", false}});
  const PlanReport plan = merger().plan();
  ASSERT_EQ(plan.siblings.size(), 1u);
  EXPECT_EQ(plan.siblings[0].harmed_blocks, 6u);
  EXPECT_TRUE(plan.siblings[0].unreadable);
  ASSERT_EQ(plan.refusals.size(), 1u);
  EXPECT_EQ(plan.refusals[0].id(), MessageId::kSharedOrigin);
}

TEST_F(NamedSource, OneTheMetadataSnapshotDoesNotKnowCountsAsHarmedThroughout) {
  use_other(kAll);
  users({{ThinId{9}, "vg/young"}});
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  EXPECT_NE(words.find("vg/young"), std::string::npos) << words;
}

TEST_F(NamedSource, ThinsThatDoNotReadTheOriginAreNoSiblings) {
  use_other({});
  users({});
  const MergeReport report = merge();
  EXPECT_TRUE(report.plan.siblings.empty());
  EXPECT_TRUE(report.plan.siblings_are_known);
}

TEST_F(NamedSource, WhereNobodyKnowsEveryOtherThinIsPossible) {
  use_other({0});
  const MergeReport report = merge();
  EXPECT_FALSE(report.plan.siblings_are_known);
  ASSERT_EQ(report.plan.siblings.size(), 1u);
  EXPECT_FALSE(report.plan.siblings[0].certain);
}

TEST_F(NamedSource, WhatIsMergedAndWhatItWasFrozenFromAreNoSiblings) {
  use_other({0});
  users({{MergeScene::kThinId, "vg/freeze"}, {kOther, "vg/snap"}});
  job->frozen_from = kOther;
  const MergeReport report = merge();
  EXPECT_EQ(report.state, JournalState::kDone);
  EXPECT_TRUE(report.plan.siblings.empty());
}

TEST_F(NamedSource, AThinOfAnotherPoolWithTheSameIdIsASibling) {
  use_other(kAll);
  users({{MergeScene::kThinId, "wg/same-id", false}});
  job->frozen_from = kOther;
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  users({{kOther, "wg/same-id", false}});
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
}

TEST_F(NamedSource, AUserThatComesDuringTheMergeIsNoticedBeforeItIsDone) {
  for (const int at_look : {1, 2}) {
    set_up(plain_shape());
    use_other(kAll);
    users({{kOther, "vg/other"}});
    int looks = 0;
    custody_of(*job).on_look_again = [&](Job& t) {
      if (++looks == at_look) t.origin_users->push_back({ThinId{3}, "vg/late"});
    };
    EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin) << at_look;
    EXPECT_NE(words.find("vg/late"), std::string::npos) << words;
    EXPECT_EQ(directory->has_file("journal"), at_look == 2);
    if (at_look == 2) {
      EXPECT_EQ(journal_state(), JournalState::kCopying);
    }
  }
}

TEST_F(NamedSource, AUserThatComesDuringTheMergeMayBeAccepted) {
  use_other(kAll);
  users({});
  custody_of(*job).on_look_again = [](Job& t) { t.origin_users = {{{ThinId{3}, "vg/late"}}}; };
  options.overrides.allow_shared_origin = true;
  expect_done();
}

TEST_F(NamedSource, AUserThatGoesDuringTheMergeIsNoObstacle) {
  use_other(kAll);
  users({{kOther, "vg/other"}});
  job->frozen_from = ThinId{5};
  custody_of(*job).on_look_again = [](Job& t) { t.origin_users = {{{ThinId{5}, "vg/renamed"}}}; };
  expect_done();
}

class DiscardingSibling : public NamedSource {
 protected:
  // At the next look, thin 2 maps only those blocks.
  void later(const std::vector<uint64_t>& blocks) {
    use_other(blocks);
    std::vector<std::byte> image = builder->image();
    use_other(kAll);
    custody_of(*job).on_release = [this] { ++released; };
    custody_of(*job).on_reserve = [this, image = std::move(image)] {
      EXPECT_EQ(released, ++reserved);
      EXPECT_EQ(journal_state(), JournalState::kCopying);
      metadata->overwrite(Bytes(0), image);
    };
  }
  // Once while the plan is made, and once more at the end of each merge.
  int released = 0;
  int reserved = 0;
};

TEST_F(DiscardingSibling, ThatReadsTheOriginIsNamedBeforeTheMergeIsDone) {
  later({0, 4, 6, 7});
  users({{kOther, "vg/other"}});
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  EXPECT_EQ(words,
            "vg/other discarded 2 blocks during the merge and shows the changed origin there");
  EXPECT_EQ(journal_state(), JournalState::kCopying);
  options.overrides.allow_shared_origin = true;
  expect_done();
  expect_merged();
}

TEST_F(DiscardingSibling, ThatIsAnActiveThinOfThePoolIsNamedByItsId) {
  later({});
  job->origin_thins = {{.device_number = 7, .name = "other", .id = kOther, .of_this_pool = true}};
  EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
  EXPECT_EQ(words.substr(0, 32), "thin id 2 discarded 6 blocks dur");
}

TEST_F(DiscardingSibling, ThatMapsAllOfItStillIsNoObstacle) {
  later(kAll);
  users({{kOther, "vg/other"}});
  expect_done();
  EXPECT_EQ(released, 2);
}

TEST_F(DiscardingSibling, ThatNobodySaysReadsTheOriginIsNotAsked) {
  later({});
  expect_done();
  EXPECT_EQ(reserved, 1) << "for the thin that was merged";
  EXPECT_EQ(released, 2);
}

// --- a thin that is in use, and is frozen ------------------------------------

TEST_F(NamedSource, AThinThatWillBeFrozenIsNotCalledStaleByAPlan) {
  use_metadata([&](MetadataBuilder& pool) { move_live_root(pool, other_root); });
  users({});
  ASSERT_EQ(merger().plan().refusals.size(), 1u);
  job->will_be_frozen = true;
  custody_of(*job).on_reserve = [] {};  // that metadata snapshot is new
  const PlanReport plan = merger().plan();
  EXPECT_TRUE(plan.refusals.empty());
  const auto said = std::count_if(
      plan.notes.begin(), plan.notes.end(),
      [](const std::string& note) { return note.find("freezes") != std::string::npos; });
  EXPECT_EQ(said, 1);
}

// --- an origin that is inactive or read-only until the merge -----------------

class ClosedOrigin : public NamedSource {
 protected:
  // `probe` is called for an exclusive open of the origin.
  void use_origin(const std::function<void()>& probe) {
    use_other(kAll);
    users({});
    custody_of(*job).on_open = [open = custody_of(*job).on_open, probe](const DeviceFacts& facts,
                                                                        OpenMode mode, Bytes ends) {
      if (mode == OpenMode::kProbe) probe();
      return open(facts, mode, ends);
    };
  }
};

TEST_F(ClosedOrigin, ThatIsInactiveIsNotOpenedByAPlan) {
  bool probed = false;
  use_origin([&] { probed = true; });
  EXPECT_TRUE(merger().plan().refusals.empty());
  EXPECT_TRUE(probed);
  probed = false;
  job->origin.is_regular = false;
  job->origin.is_block = true;  // and has no number
  ASSERT_TRUE(job->origin_is_inactive());
  EXPECT_TRUE(merger().plan().refusals.empty());
  EXPECT_FALSE(probed);
}

TEST_F(ClosedOrigin, ThatIsReadOnlyIsExpectedOnlyWhereItWillBeMadeWritable) {
  use_origin([] { throw Error(MessageId::kReadOnly, "it is read-only", "make it writable"); });
  ASSERT_EQ(merger().plan().refusals.size(), 1u);
  job->origin_made_writable = true;
  EXPECT_TRUE(merger().plan().refusals.empty());
}

TEST_F(ClosedOrigin, ThatIsInUseIsRefusedAllTheSame) {
  use_origin([] { throw Error(MessageId::kInUse, "it is in use", "stop that"); });
  job->origin_made_writable = true;
  const PlanReport plan = merger().plan();
  ASSERT_EQ(plan.refusals.size(), 1u);
  EXPECT_EQ(plan.refusals[0].id(), MessageId::kInUse);
}

// --- a metadata snapshot that is held only while mappings are read ------------

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

// --- an origin that is taken back ---------------------------------------------

TEST_F(NamedSource, AnOriginThatIsTakenBackStopsTheMergeAndNothingIsRecorded) {
  for (const int at_checkpoint : {1, 2}) {
    set_up(plain_shape());
    use_other(kAll);
    users({});
    int checks = 0;
    Bytes before;
    custody_of(*job).on_check = [&] {
      if (++checks < at_checkpoint) return;
      before = recorded_position();
      throw Error(MessageId::kOriginTakenBack, "it was taken back", "let nobody do that");
    };
    try {
      merge();
      FAIL() << "merged";
    } catch (const Error& error) {
      EXPECT_EQ(error.id(), MessageId::kOriginTakenBack) << error.what();
      EXPECT_EQ(error.exit_status(), 7);
      EXPECT_NE(error.next().find("extmerge resume"), std::string::npos) << error.next();
    }
    EXPECT_GE(checks, at_checkpoint);
    EXPECT_EQ(journal_state(), JournalState::kCopying);
    EXPECT_EQ(recorded_position(), before) << "what could not be checked does not count";
    EXPECT_EQ(before > Bytes(0), at_checkpoint == 2);

    custody_of(*job).on_check = {};
    const MergeReport report = merger().resume();
    EXPECT_EQ(report.state, JournalState::kDone);
    EXPECT_EQ(report.resumed_from, before);
    expect_merged();
  }
}

TEST_F(NamedSource, TheOriginIsAskedForBeforeEachRecord) {
  use_other(kAll);
  users({});
  bool checked = false, copying = false;
  std::string order;  // of checks and of writes to the journal
  custody_of(*job).on_release = [&] { copying = true; };
  custody_of(*job).on_check = [&] { checked = true; };
  world.on_operation([&](const Operation& op) {
    if (!copying || op.kind != OperationKind::kFileWrite || !op.object.starts_with("journal"))
      return;
    order += checked ? "checked " : "not ";
    checked = false;
  });
  expect_done();
  world.on_operation({});
  const size_t first_unchecked = order.find("not");
  EXPECT_GT(first_unchecked, std::string("checked ").size()) << order;
  EXPECT_EQ(order.find("checked", first_unchecked), std::string::npos)
      << "only at the end, where it is said that all is done: " << order;
}

// --- the journal's lock ---------------------------------------------------------

TEST_F(NamedSource, TheLockThatTheCallerHoldsIsNotTakenAgain) {
  use_other(kAll);
  users({});
  const std::shared_ptr<FileLock> lock = directory->try_lock(lock_name("journal"));
  ASSERT_TRUE(lock);
  EXPECT_EQ(merge_failure(), MessageId::kJournalLocked);
  ASSERT_EQ(merger().plan().refusals.size(), 1u);
  job->journal.lock = lock;
  EXPECT_TRUE(merger().plan().refusals.empty());
  expect_done();
  EXPECT_FALSE(directory->try_lock(lock_name("journal"))) << "it is the caller's still";
}

// --- rounds ---------------------------------------------------------------------

TEST_F(NamedSource, AFreezeThatIsGoneIsRememberedByItsId) {
  use_other(kAll);
  users({});
  merge();
  // The same state by the id of the frozen volume.
  use_metadata([](MetadataBuilder&) {});
  users({});
  EXPECT_EQ(merge_failure(), MessageId::kAlreadyDone);
}

// Thin 2 has the mappings of its freeze, thin 1, which was made at time 3 and is merged.
class Snapped : public NamedSource {
 protected:
  void add_devices(MetadataBuilder& pool) override {
    constexpr uint64_t kRootOfThin1 = 1;  // the first node that was built
    pool.add_mapping_root(value(kOther), kRootOfThin1);
    pool.add_details(value(kOther), 6, 9, 2);
  }
  // The plan of thin 2, with one mapping made at `time`.
  PlanReport plan_with_mapping_of(uint32_t time, ThinId merged_as = MergeScene::kThinId) {
    use_metadata([&](MetadataBuilder& pool) {
      pool.value(1, 3).set(pool.value(1, 3).get() | time);
      pool.fix_checksum(1);
    });
    users({});
    job->thin_id = kOther;
    job->merged_as = merged_as;
    return merger().plan();
  }
  void SetUp() override {
    NamedSource::SetUp();
    use_metadata([](MetadataBuilder&) {});
    users({});
    merge();
  }
};

TEST_F(Snapped, HasNothingNewIfAllItsMappingsAreOlderThanTheFreeze) {
  const PlanReport plan = plan_with_mapping_of(2);
  EXPECT_TRUE(plan.nothing_new);
  EXPECT_TRUE(plan.has_nothing_to_merge());
  ASSERT_EQ(plan.refusals.size(), 1u);
  EXPECT_EQ(plan.refusals[0].id(), MessageId::kAlreadyDone);
}

// The pool reuses blocks and roots: the same plan may have other data.
TEST_F(Snapped, MayHaveSomethingNewUnderTheSameMappingsIfOneIsYounger) {
  for (const uint32_t time : {3u, 4u}) {
    const PlanReport plan = plan_with_mapping_of(time);
    EXPECT_FALSE(plan.nothing_new) << time;
    ASSERT_EQ(plan.refusals.size(), 1u);
    EXPECT_EQ(plan.refusals[0].id(), MessageId::kAlreadyDone);
  }
}

TEST_F(Snapped, ThatIsNotKnownToHaveBeenFrozenIsNotCalledMerged) {
  EXPECT_FALSE(plan_with_mapping_of(2, ThinId{7}).nothing_new);
}

TEST_F(Snapped, IsNotCalledMergedIfTheOriginWasWrittenToSince) {
  scene->origin().overwrite(Bytes(1024), std::vector<std::byte>(512, std::byte{0x77}));
  EXPECT_FALSE(plan_with_mapping_of(2).nothing_new);
}

TEST_F(Snapped, SaysThatAnInactiveOriginWasNotLookedAt) {
  const auto says_so = [](const PlanReport& plan) {
    return std::ranges::count_if(plan.notes, [](const std::string& note) {
      return note.find("is inactive: extmerge did not check") != note.npos;
    });
  };
  EXPECT_EQ(says_so(plan_with_mapping_of(2)), 0);
  job->origin.is_regular = false;
  job->origin.is_block = true;  // and has no number
  const PlanReport plan = merger().plan();
  EXPECT_TRUE(plan.has_nothing_to_merge());
  EXPECT_EQ(says_so(plan), 1);
}

TEST_F(Snapped, WithAnotherReasonToRefuseHasMoreThanNothingToMerge) {
  PlanReport plan = plan_with_mapping_of(2);
  plan.refusals.push_back(Error(MessageId::kSharedOrigin, "a", "b"));
  EXPECT_FALSE(plan.has_nothing_to_merge());
}

// The thin itself was merged without a freeze, so it may be written in place since.
TEST_F(Snapped, MergedByItselfIsDoneAlreadyButNotCertainToBeUnwritten) {
  const PlanReport plan = merger().plan();
  EXPECT_FALSE(plan.nothing_new);
  ASSERT_EQ(plan.refusals.size(), 1u);
  EXPECT_EQ(plan.refusals[0].id(), MessageId::kAlreadyDone);
}

TEST_F(NamedSource, ALastRoundMergesWhatIsMergedIfTheOriginIsAsItWasLeft) {
  use_other(kAll);
  users({});
  merge();
  options.last_round = true;
  const MergeReport report = merge();
  EXPECT_EQ(report.state, JournalState::kDone);
  EXPECT_EQ(report.resumed_from, Bytes(0));
  scene->origin().overwrite(Bytes(1024), std::vector<std::byte>(512, std::byte{0x77}));
  EXPECT_EQ(merge_failure(), MessageId::kOriginChanged);
}

}  // namespace
}  // namespace extmerge
