// SPDX-License-Identifier: GPL-3.0-or-later
//
// Rounds: merges of what was written since the last merge, found by the times in the mappings.

#include <gtest/gtest.h>

#include "tests/merge/rounds_fixture.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

TEST_F(Rounds, TheFirstMergeIsAFullOneAndTheNextReadsOnlyWhatChanged) {
  write_all();
  expect_full("no earlier merge");
  pool->write(kSnap, 3);
  pool->write(kSnap, 7, true);
  expect_round(2);
  pool->write(kSnap, 3);
  expect_round(1);
}

TEST_F(Rounds, AnEmptyRoundHasNothingToMerge) {
  write_all();
  merge();
  pool->discard(kSnap, 4);
  const auto before = pool->origin().contents();
  pool->commit();
  const PlanReport plan = merger(pool->job(directory, kSnap)).plan();
  EXPECT_TRUE(plan.has_nothing_to_merge());
  EXPECT_TRUE(plan.base);
  const uint32_t id = freeze();
  EXPECT_EQ(failure([&] { merge_job(pool->job(directory, id, kSnap)); }).id(),
            MessageId::kAlreadyDone);
  EXPECT_EQ(first_difference(pool->origin().contents(), before), "");
}

// The last merge of a thin that is to be removed.
TEST_F(Rounds, AnEmptyLastRoundIsDone) {
  write_all();
  merge();
  options.last_round = true;
  options.verify = VerifyChoice::kFull;
  expect_round(0);
  EXPECT_EQ(journal()->verified(), Verified::kEverything);
}

TEST_F(Rounds, AFullMergeCanBeAskedFor) {
  write_all();
  merge();
  pool->write(kSnap, 1);
  options.round = RoundChoice::kFull;
  expect_full("--full");
  options.round = RoundChoice::kAsKnown;
  options.again = true;
  expect_full("--again");
  options.again = false;
  options.restart = true;
  expect_full("restarts");
}

TEST_F(Rounds, AnUndoneMergeIsNoBase) {
  write_all();
  const uint32_t first = freeze();
  const auto origin_before = pool->origin().contents();
  Job job = pool->job(directory, first, kSnap);
  job.undo_log = job.custody->undo_log_at("/state/undo");
  merge_job(job);
  merger(pool->job(directory, first, kSnap)).undo([](const UndoReport&) { return true; });
  EXPECT_EQ(first_difference(pool->origin().contents(), origin_before), "");
  pool->remove(first);
  pool->write(kSnap, 2);
  expect_full("undone");
}

// Blocks written in place keep their times.
TEST_F(Rounds, AThinThatWasMergedWithoutAFreezeIsNoBase) {
  write_all();
  pool->commit();
  merge_job(pool->job(directory, kSnap));
  pool->write(kSnap, 2);
  expect_full("was not frozen");
}

TEST_F(Rounds, AFreezeThatWasWrittenToIsNoBase) {
  write_all();
  const uint32_t first = freeze();
  pool->write(first, 5);
  pool->commit();
  merge_job(pool->job(directory, first, kSnap));
  pool->remove(first);
  pool->write(kSnap, 2);
  expect_full("was not frozen");
}

TEST_F(Rounds, ARevertedVolumeIsAnotherThin) {
  write_all();
  const uint32_t kept = next_id++;
  pool->snapshot(kept, kSnap);
  pool->write(kSnap, 2);
  merge();
  pool->revert(kSnap, kept);
  pool->write(kept, 6);
  expect_full("of another thin", kept);
}

TEST_F(Rounds, AThinThatGotTheSameIdIsAnotherOne) {
  write_all();
  merge();
  pool->snapshot(kOther, kSnap);
  pool->remove(kSnap);
  pool->create(kSnap);
  pool->write(kSnap, 3);
  options.overrides.allow_shared_origin = true;
  expect_full("of another thin");
}

TEST_F(Rounds, APoolThatWasRestoredFromABackupIsNoBase) {
  write_all();
  merge();
  const auto backup = pool->back_up();
  pool->write(kSnap, 3);
  merge();
  pool->restore(*backup);
  pool->write(kSnap, 3);
  pool->write(kSnap, 4);
  // The freeze of this merge raises the time again, to that of the last merge.
  pool->commit();
  const PlanReport plan = merger(pool->job(directory, kSnap)).plan();
  EXPECT_FALSE(plan.base);
  EXPECT_NE(plan.full_reason.find("restored"), std::string::npos) << plan.full_reason;
}

// Snapshots after the restore have raised the times, so that only the mappings tell.
TEST_F(Rounds, MappingsThatTheLastMergeDidNotHaveAreRefused) {
  restore_and_raise_the_times();
  pool->write(kSnap, 5);
  const uint32_t id = freeze();
  const auto before = pool->origin().contents();
  options.overrides.allow_shared_origin = true;
  const Error error = failure([&] { merge_job(pool->job(directory, id, kSnap)); });
  EXPECT_EQ(error.id(), MessageId::kOtherThin) << error.what();
  EXPECT_EQ(first_difference(pool->origin().contents(), before), "");
  // The journal of the last merge is still there, and a full merge is right.
  options.round = RoundChoice::kFull;
  merge();
}

TEST_F(Rounds, TimesThatDoNotFitIn24BitsAreNotUsed) {
  pool->set_time(kEndOfTimes - 3);
  write_all();
  merge();  // its freeze has the time 2^24 - 2
  pool->write(kSnap, 3);
  expect_round(1);
  pool->set_time(kEndOfTimes - 1);
  pool->commit();
  const uint32_t id = freeze();
  const PlanReport plan = merger(pool->job(directory, id, kSnap)).plan();
  EXPECT_NE(plan.full_reason.find("begin again"), std::string::npos) << plan.full_reason;
}

// Old mappings past the end of the last merge show again when the thin grows.
TEST_F(Rounds, BlocksPastTheEndOfTheLastMergeAreMergedWhateverTheirTime) {
  write_all();
  const uint32_t first = freeze();
  Job job = pool->job(directory, first, kSnap);
  job.thin_size = Bytes(5 * ThinPool::kBlockSize + 512);
  merge_job(job);
  pool->remove(first);
  pool->write(kSnap, 1);
  expect_round(1 + (kThinBlocks - 5));
}

TEST_F(Rounds, AShorterThinIsMergedUpToItsEnd) {
  write_all();
  merge();
  for (const uint64_t block : {1u, 4u, 5u, 9u}) pool->write(kSnap, block);
  const uint32_t id = freeze();
  Job job = pool->job(directory, id, kSnap);
  job.thin_size = Bytes(5 * ThinPool::kBlockSize);
  EXPECT_EQ(merge_job(job).plan.summary.copy_blocks, 2u);
  pool->remove(id);
  // The blocks past that end were not merged; the next round has all of them.
  expect_round(kThinBlocks - 5);
}

TEST_F(Rounds, AnInterruptedRoundGoesOnAsOne) {
  write_all();
  merge();
  const uint32_t id = interrupt_round();
  const auto expected = pool->view(id);
  pool->write(kSnap, 3);
  pool->commit();
  options.round = RoundChoice::kFull;
  EXPECT_EQ(failure([&] { merge_job(pool->job(directory, id, kSnap)); }).id(),
            MessageId::kHalfMerged);
  options.round = RoundChoice::kAsKnown;
  const MergeReport report = merge_job(pool->job(directory, id, kSnap));
  EXPECT_TRUE(report.plan.base);
  EXPECT_GT(report.resumed_from, Bytes(0));
  EXPECT_EQ(first_difference(pool->origin().contents(), expected), "");
  pool->remove(id);
  expect_round(1);
}

TEST_F(Rounds, ASiblingIsJudgedByWhatTheRoundChanges) {
  write_all();
  merge();
  pool->create(kOther);  // shows the merged origin
  pool->write(kOther, 3);
  pool->write(kSnap, 3);
  pool->write(kSnap, 5);
  pool->commit();
  const PlanReport plan = merger(pool->job(directory, kSnap)).plan();
  ASSERT_EQ(plan.siblings.size(), 1u);
  EXPECT_EQ(plan.siblings.front().harmed_blocks, 1u);
}

// The first merge changed the other thin, as accepted. A round that does not is no absolution.
TEST_F(Rounds, AThinThatAnEarlierRoundHasChangedIsNotMerged) {
  pool->create(kOther);
  pool->write(kOther, 3);
  pool->write(kSnap, 5);
  pool->write(kSnap, 3);
  options.overrides.allow_shared_origin = true;
  merge();
  pool->write(kSnap, 3);
  merge();
  options.overrides.allow_shared_origin = false;
  pool->commit();
  Job job = pool->job(directory, kOther);
  job.origin_users = std::vector<OriginUser>{};
  const PlanReport plan = merger(job).plan();
  ASSERT_FALSE(plan.refusals.empty());
  EXPECT_EQ(plan.refusals.front().id(), MessageId::kSharedOrigin);
}

// --- any history -----------------------------------------------------------------

// Writes, zeros, discards, snapshots of this and other thins made and deleted, between rounds.
TEST_F(Rounds, OfAnyHistoryMergeWhatTheFreezeShows) {
  unsigned rounds = 0;
  for (uint64_t seed = 1; seed <= 240 / kStride + 8; ++seed) {
    begin(seed);
    SimulatedRandom random(seed);
    options.overrides.allow_shared_origin = true;
    pool->create(kOther);
    std::vector<uint32_t> snapshots;
    for (int round = 0; round < 5; ++round) {
      const uint64_t steps = random_below(random, 24);
      for (uint64_t step = 0; step < steps; ++step) {
        const uint32_t thin = random_below(random, 5) == 0 ? kOther : kSnap;
        const uint64_t block = random_below(random, kThinBlocks);
        switch (random_below(random, 8)) {
          case 0:
            pool->discard(thin, block);
            break;
          case 1:
            if (snapshots.size() == 2) {
              pool->remove(snapshots.front());
              snapshots.erase(snapshots.begin());
            }
            snapshots.push_back(next_id++);
            pool->snapshot(snapshots.back(), thin);
            break;
          default:
            pool->write(thin, block, random_below(random, 6) == 0);
        }
      }
      options.last_round = true;  // an empty round is one as well
      options.verify = random_coin(random) ? VerifyChoice::kFull : VerifyChoice::kSample;
      rounds += merge().plan.base.has_value();
      if (HasFailure()) FAIL() << "seed " << seed << ", round " << round;
    }
  }
  EXPECT_GE(rounds, 4u * (240 / kStride));
}

}  // namespace
}  // namespace extmerge
