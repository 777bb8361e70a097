// SPDX-License-Identifier: GPL-3.0-or-later
//
// The additions of an LVM source to a merge (merge/job.h): known siblings, a freeze, an origin that
// LVM can take back, a lock.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/merge/named_source_fixture.h"

namespace extmerge {
namespace {

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

}  // namespace
}  // namespace extmerge
