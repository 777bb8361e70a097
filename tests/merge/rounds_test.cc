// SPDX-License-Identifier: GPL-3.0-or-later
//
// Rounds: merges of what was written since the last merge, found by the times in the mappings. The
// simulated pool keeps times as the kernel does. After each merge the origin is compared byte by
// byte with the contents that the freeze had.

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>

#include "merge/journal/sample.h"
#include "merge/merge.h"
#include "tests/support/merge_scene.h"
#include "tests/support/stride.h"
#include "tests/support/thin_pool.h"

namespace extmerge {
namespace {

constexpr uint32_t kSnap = 1;
constexpr uint32_t kOther = 2;
constexpr uint64_t kThinBlocks = 12;

class Rounds : public testing::Test {
 protected:
  Rounds() { begin(1); }

  void begin(uint64_t seed) {
    pool = std::make_unique<ThinPool>(world, kThinBlocks, 8 * kThinBlocks, seed);
    directory = std::make_shared<SimulatedDirectory>(world);
    next_id = 100;
    options = {};
    options.pipeline.buffer_size = Bytes(ThinPool::kBlockSize);
    options.pipeline.threads = 2;
    pool->create(kSnap);
  }

  uint32_t freeze(uint32_t thin = kSnap) {
    pool->snapshot(next_id, thin);
    pool->commit();
    return next_id++;
  }
  Merger merger(const Job& job) { return Merger(job, options, progress, {}); }
  MergeReport merge_job(const Job& job) {
    return merger(job).merge([](const PlanReport&) { return true; });
  }
  // Merges a freeze of the thin, and removes it.
  MergeReport merge(uint32_t thin = kSnap) {
    const uint32_t id = freeze(thin);
    const auto expected = pool->view(id);
    const MergeReport report = merge_job(pool->job(directory, id, thin));
    EXPECT_EQ(report.state, JournalState::kDone);
    EXPECT_EQ(first_difference(pool->origin().contents(), expected), "");
    pool->remove(id);
    return report;
  }
  // The next merge is a full one, for a reason with these words.
  void expect_full(const std::string& reason, uint32_t thin = kSnap) {
    const MergeReport report = merge(thin);
    EXPECT_FALSE(report.plan.base) << reason;
    EXPECT_NE(report.plan.full_reason.find(reason), std::string::npos) << report.plan.full_reason;
  }
  void expect_round(uint64_t blocks) {
    const MergeReport report = merge();
    EXPECT_TRUE(report.plan.base) << report.plan.full_reason;
    EXPECT_EQ(report.plan.full_reason, "");
    EXPECT_EQ(report.plan.summary.copy_blocks, blocks);
    EXPECT_EQ(report.counters.bytes_read, Bytes(blocks * ThinPool::kBlockSize));
  }
  Error failure(const std::function<void()>& deed) {
    try {
      deed();
    } catch (const Error& error) {
      return error;
    }
    return Error(MessageId::kInternal, "nothing failed", "");
  }
  void write_all() {
    for (uint64_t block = 0; block < kThinBlocks; ++block) pool->write(kSnap, block);
  }
  // Changes a byte of the origin that no sample has.
  void flip_unsampled() {
    const auto last = journal();
    const uint64_t print = origin_fingerprint(*last, pool->origin());
    for (uint64_t unit = 40; unit < 9 * 16; ++unit) {
      const Bytes changed(unit * 4096 + 5);
      pool->origin().flip(changed);
      if (origin_fingerprint(*last, pool->origin()) == print) return;
      pool->origin().flip(changed);
    }
    FAIL() << "everything is sampled";
  }
  // The metadata is as before the last merge. Snapshots since then have raised the times.
  void restore_and_raise_the_times() {
    write_all();
    merge();
    const auto backup = pool->back_up();
    pool->write(kSnap, 3);
    merge();
    pool->restore(*backup);
    pool->write(kSnap, 4);
    for (const uint32_t id : {50u, 51u, 52u}) pool->snapshot(id, kSnap);
  }
  std::unique_ptr<Journal> journal() { return Journal::open(*directory, "journal", false); }

  SimulatedWorld world;
  std::unique_ptr<ThinPool> pool;
  std::shared_ptr<SimulatedDirectory> directory;
  MergeOptions options;
  Progress progress;
  uint32_t next_id = 0;
};

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
  for (const uint64_t block : {0u, 2u, 4u, 6u, 8u, 10u}) pool->write(kSnap, block);
  options.pipeline.checkpoint_bytes = Bytes(ThinPool::kBlockSize);
  const uint32_t id = freeze();
  const auto expected = pool->view(id);
  uint64_t flushes = 0;
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kFlush && ++flushes == 2) world.cut_power_at(world.operations());
  });
  failure([&] { merge_job(pool->job(directory, id, kSnap)); });
  world.on_operation({});
  ASSERT_TRUE(world.power_is_cut());
  world.restart(Survivors::kRandom, 1);
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

// --- the user's word ---------------------------------------------------------

TEST_F(Rounds, DevicesAreMergedInFullUnlessTheUserSaysThatTheThinIsTheSame) {
  write_all();
  merge_job(pool->job(directory, freeze()));
  pool->write(kSnap, 3);
  const uint32_t second = freeze();
  EXPECT_NE(merger(pool->job(directory, second)).plan().full_reason, "");
  options.round = RoundChoice::kSince;
  const auto expected = pool->view(second);
  EXPECT_EQ(merge_job(pool->job(directory, second)).plan.summary.copy_blocks, 1u);
  EXPECT_EQ(first_difference(pool->origin().contents(), expected), "");
  // The thin itself, once it is still.
  pool->write(kSnap, 4);
  pool->commit();
  EXPECT_EQ(merge_job(pool->job(directory, kSnap)).plan.summary.copy_blocks, 1u);
  EXPECT_EQ(first_difference(pool->origin().contents(), pool->view(kSnap)), "");
}

TEST_F(Rounds, SinceTheLastMergeIsAnErrorWhereThereWasNone) {
  write_all();
  options.round = RoundChoice::kSince;
  pool->commit();
  const Error error = failure([&] { merger(pool->job(directory, kSnap)).plan(); });
  EXPECT_EQ(error.id(), MessageId::kNoBase);
}

TEST_F(Rounds, SinceTheLastMergeIsAnErrorForAThinThatWasNotFrozenThen) {
  write_all();
  const uint32_t older = freeze();
  pool->write(kSnap, 2);
  merge_job(pool->job(directory, freeze()));
  options.round = RoundChoice::kSince;
  const Error error = failure([&] { merger(pool->job(directory, older)).plan(); });
  EXPECT_EQ(error.id(), MessageId::kNoBase) << error.what();
}

TEST_F(Rounds, SinceTheLastMergeIsAnErrorForAThinWithOtherMappings) {
  write_all();
  pool->create(kOther);
  for (uint64_t block = 0; block < kThinBlocks; ++block) pool->write(kOther, block);
  merge_job(pool->job(directory, freeze()));
  options.round = RoundChoice::kSince;
  const uint32_t of_other = freeze(kOther);
  const auto before = pool->origin().contents();
  const Error error = failure([&] { merge_job(pool->job(directory, of_other)); });
  EXPECT_EQ(error.id(), MessageId::kOtherThin) << error.what();
  EXPECT_EQ(first_difference(pool->origin().contents(), before), "");
}

// --- comparisons ---------------------------------------------------------------

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

// --- found by a review --------------------------------------------------------------

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

TEST_F(Rounds, SinceTheLastMergeIsAnErrorForARevertedVolume) {
  write_all();
  const uint32_t kept = next_id++;
  pool->snapshot(kept, kSnap);
  pool->write(kSnap, 2);
  merge();
  pool->write(kSnap, 7);
  merge();
  pool->revert(kSnap, kept);
  pool->snapshot(60, kept);
  pool->remove(60);
  options.round = RoundChoice::kSince;
  const uint32_t id = freeze(kept);
  const Error error = failure([&] { merge_job(pool->job(directory, id, kept)); });
  EXPECT_EQ(error.id(), MessageId::kNoBase) << error.what();
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

TEST_F(Rounds, AnEmptyRoundOfAChangedOriginIsRefusedForThat) {
  write_all();
  merge();
  pool->origin().flip(Bytes(5));
  const uint32_t id = freeze();
  EXPECT_EQ(failure([&] { merge_job(pool->job(directory, id, kSnap)); }).id(),
            MessageId::kOriginChanged);
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
