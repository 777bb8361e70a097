// SPDX-License-Identifier: GPL-3.0-or-later
//
// Comparisons of a round: which blocks are compared, and what the journal then records.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/merge/rounds_fixture.h"

namespace extmerge {
namespace {

TEST_F(Rounds, AFullComparisonSeesBlocksOfEarlierRounds) {
  write_all();
  merge();
  pool->write(kSnap, 3);
  const uint32_t id = freeze();
  flip_unsampled();
  options.verify = VerifyChoice::kFull;
  const Error error = failure([&] { merge_job(pool->job(directory, id, kSnap)); });
  EXPECT_EQ(error.id(), MessageId::kDiffers) << error.what();
  EXPECT_NE(error.next().find("--restart"), std::string::npos);
  options.restart = true;
  EXPECT_FALSE(merge_job(pool->job(directory, id, kSnap)).plan.base);
  EXPECT_EQ(first_difference(pool->origin().contents(), pool->view(id)), "");
}

TEST_F(Rounds, WhatIsVerifiedIsTheWeakestOfAllRounds) {
  write_all();
  merge();
  EXPECT_EQ(journal()->verified(), Verified::kSample);
  pool->write(kSnap, 3);
  options.verify = VerifyChoice::kChanged;
  merge();
  EXPECT_EQ(journal()->verified(), Verified::kSample);
  options.last_round = true;
  EXPECT_EQ(failure([&] { merge(); }).id(), MessageId::kNotVerified);
  options.last_round = false;
  pool->write(kSnap, 3);
  options.verify = VerifyChoice::kFull;
  merge();
  EXPECT_EQ(journal()->verified(), Verified::kEverything);
  EXPECT_EQ(directory->names().size(), 2u);  // journal and lock: the spool has no name
  pool->write(kSnap, 4);
  options.verify = VerifyChoice::kChanged;
  options.last_round = true;
  merge();
  EXPECT_EQ(journal()->verified(), Verified::kEverything);
  options.verify = VerifyChoice::kNone;
  pool->write(kSnap, 4);
  merge();
  EXPECT_EQ(journal()->verified(), Verified::kNothing);
}

TEST_F(Rounds, TheFingerprintKeepsPlacesOfEarlierRounds) {
  pool->write(kSnap, 5);
  merge();
  const std::vector<Bytes> first = places_to_keep(*journal(), pool->origin());
  ASSERT_FALSE(first.empty());
  pool->write(kSnap, 9);
  merge();
  EXPECT_EQ(journal()->record().old_places, first);
  const std::vector<Bytes> second = places_to_keep(*journal(), pool->origin());
  for (const Bytes place : first)
    EXPECT_TRUE(std::ranges::find(second, place) != second.end()) << place.value();
  EXPECT_GT(second.size(), first.size());
}

// A block of an earlier round differs, and the run that found it is not started again from the
// beginning.
TEST_F(Rounds, ThatWereFoundToDifferAreNotDoneByAResume) {
  write_all();
  options.verify = VerifyChoice::kFull;
  merge();
  pool->write(kSnap, 3);
  const uint32_t id = freeze();
  flip_unsampled();
  EXPECT_EQ(failure([&] { merge_job(pool->job(directory, id, kSnap)); }).id(), MessageId::kDiffers);
  options.verify = VerifyChoice::kChanged;
  EXPECT_EQ(failure([&] { merge_job(pool->job(directory, id, kSnap)); }).id(), MessageId::kDiffers);
  EXPECT_EQ(journal()->state(), JournalState::kCopying);
}

TEST_F(Rounds, AnEmptyRoundOfARestoredPoolIsNotNothing) {
  restore_and_raise_the_times();
  pool->commit();
  options.overrides.allow_shared_origin = true;
  const PlanReport plan = merger(pool->job(directory, kSnap)).plan();
  EXPECT_FALSE(plan.has_nothing_to_merge());
  ASSERT_FALSE(plan.refusals.empty());
  EXPECT_EQ(plan.refusals.front().id(), MessageId::kOtherThin);
}

TEST_F(Rounds, AnEmptyRoundOfAChangedOriginIsRefusedForThat) {
  write_all();
  merge();
  pool->origin().flip(Bytes(5));
  const uint32_t id = freeze();
  EXPECT_EQ(failure([&] { merge_job(pool->job(directory, id, kSnap)); }).id(),
            MessageId::kOriginChanged);
}

// The earlier run may have found a difference that lies outside the round.
TEST_F(Rounds, AResumedOneDoesNotCountAsComparedWithEverythingElse) {
  write_all();
  options.verify = VerifyChoice::kFull;
  merge();
  const uint32_t id = interrupt_round();
  options.verify = VerifyChoice::kChanged;
  EXPECT_GT(merge_job(pool->job(directory, id, kSnap)).resumed_from, Bytes(0));
  EXPECT_EQ(journal()->verified(), Verified::kSample);
}

// The state that the old plan was made of has changed, and only the plan's blocks are known.
TEST_F(Rounds, AnOldPlanIsComparedAlone) {
  write_all();
  merge();
  const uint32_t id = interrupt_round();
  const auto planned = pool->view(id);
  pool->write(id, 3);
  pool->commit();
  options.overrides.allow_stale = true;
  options.verify = VerifyChoice::kFull;
  EXPECT_EQ(merger(pool->job(directory, id, kSnap)).resume().state, JournalState::kDone);
  EXPECT_EQ(first_difference(pool->origin().contents(), planned), "");
  EXPECT_EQ(journal()->verified(), Verified::kSample);
}

// --- the spooled plan of everything ----------------------------------------------------

class Spooled : public Rounds {
 protected:
  // Merges a round with a full comparison, and calls `deed` before the spool has lost its name.
  Error merge_with(const std::function<void()>& deed) {
    write_all();
    merge();
    pool->write(kSnap, 3);
    id = freeze();
    options.verify = VerifyChoice::kFull;
    int named = 0;  // first the journal is made, and published
    world.on_operation([&](const Operation& op) {
      if (op.kind != OperationKind::kDirectory || op.object != "journal.new") return;
      if (directory->has_file("journal.new") && ++named == 2) deed();
    });
    const Error error = failure([&] { merge_job(pool->job(directory, id, kSnap)); });
    world.on_operation({});
    return error;
  }
  uint32_t id = 0;
};

TEST_F(Spooled, ACutWhileItHasANameLeavesAnEmptyFileThatTheNextMergeRemoves) {
  for (const bool is_same_round : {true, false}) {
    begin(1);
    merge_with([&] { world.cut_power_at(world.operations()); });
    ASSERT_TRUE(world.power_is_cut());
    world.restart(Survivors::kAll, 1);
    if (!directory->has_file("journal.new")) directory->put_file("journal.new", {});  // a kill
    EXPECT_EQ(directory->names().size(), 3u);
    EXPECT_TRUE(directory->file("journal.new").empty());
    options.verify = is_same_round ? VerifyChoice::kFull : VerifyChoice::kNone;
    merge_job(pool->job(directory, id, kSnap));
    if (!is_same_round) {
      pool->write(kSnap, 4);
      merge();
    }
    EXPECT_EQ(directory->names(), (std::vector<std::string>{"journal", "journal.lock"}));
  }
}

TEST_F(Spooled, AFileOfThatNameThatIsNotOursStays) {
  write_all();
  merge();
  id = interrupt_round();
  const std::vector<std::byte> letter(7, std::byte{'a'});
  directory->put_file("journal.new", letter);
  options.verify = VerifyChoice::kFull;
  EXPECT_EQ(failure([&] { merge_job(pool->job(directory, id, kSnap)); }).id(),
            MessageId::kNotAJournal);
  EXPECT_EQ(directory->file("journal.new"), letter);
}

TEST_F(Spooled, AFailureThereSaysThatTheMergeCanBeResumed) {
  const Error error = merge_with([&] { world.fail_at(world.operations(), {}); });
  EXPECT_EQ(error.id(), MessageId::kJournalIo) << error.what();
  EXPECT_NE(error.next().find("extmerge resume"), std::string::npos) << error.next();
}

}  // namespace
}  // namespace extmerge
