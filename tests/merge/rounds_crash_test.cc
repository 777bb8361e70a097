// SPDX-License-Identifier: GPL-3.0-or-later
//
// Power cuts and faults over rounds: in the first merge, in the second, and in the last one, which
// compares everything. The thin is written to between a cut and the next run. Whatever happens, the
// freeze shows the same, a run that says done has merged it, and the next round is right, too. The
// last journal may also be lost, damaged, old, or another origin's.

#include <gtest/gtest.h>

#include <functional>

#include "merge/merge.h"
#include "tests/support/merge_scene.h"
#include "tests/support/stride.h"
#include "tests/support/thin_pool.h"

namespace extmerge {
namespace {

constexpr uint32_t kSnap = 1;
constexpr uint64_t kThinBlocks = 6;

struct Result {
  bool done = false;
  MessageId failed_with{};
  std::string words;
};

class RoundsUnderFire : public testing::Test {
 protected:
  RoundsUnderFire() {
    options.pipeline.buffer_size = Bytes(ThinPool::kBlockSize);
    options.pipeline.io_size = Bytes(ThinPool::kBlockSize / 2);
    options.pipeline.checkpoint_bytes = Bytes(ThinPool::kBlockSize);
    options.pipeline.threads = 2;
    pool.create(kSnap);
    for (uint64_t block = 0; block + 1 < kThinBlocks; ++block) pool.write(kSnap, block);
  }

  // The blocks that are written before each of three rounds.
  static std::vector<uint64_t> written_before(int round) {
    if (round == 0) return {};
    return round == 1 ? std::vector<uint64_t>{1, 3, 4} : std::vector<uint64_t>{0, 3};
  }
  void prepare(int round) {
    for (const uint64_t block : written_before(round)) pool.write(kSnap, block);
    if (round == 2) pool.discard(kSnap, 4);
    freeze = 100 + static_cast<uint32_t>(round);
    pool.snapshot(freeze, kSnap);
    pool.commit();
    expected = pool.view(freeze);
    options.last_round = round == 2;
    options.verify = round == 2 ? VerifyChoice::kFull : VerifyChoice::kSample;
  }
  Result run() {
    Result result;
    Progress progress;
    try {
      Merger merger(pool.job(directory, freeze, kSnap), options, progress, {});
      const MergeReport report = merger.merge([](const PlanReport&) { return true; });
      result.done = report.state == JournalState::kDone;
      was_round = report.plan.base.has_value();
    } catch (const Error& error) {
      result.failed_with = error.id();
      result.words = error.what();
    }
    return result;
  }
  void run_to_the_end(const std::string& where) {
    const Result result = run();
    const bool is_done = result.done || result.failed_with == MessageId::kAlreadyDone;
    ASSERT_TRUE(is_done) << where << ": " << result.words;
    ASSERT_EQ(first_difference(pool.origin().contents(), expected), "") << where;
  }
  // The freeze goes, the thin is written to, and the next round merges that.
  void expect_next_round(const std::string& where) {
    pool.remove(freeze);
    pool.write(kSnap, 2);
    freeze = 200;
    pool.snapshot(freeze, kSnap);
    pool.commit();
    expected = pool.view(freeze);
    ASSERT_NO_FATAL_FAILURE(run_to_the_end(where + ", next round"));
    EXPECT_TRUE(was_round) << where;
  }

  void save() {
    world_before = world.save();
    pool_before = pool.back_up();
    freeze_before = freeze;
    expected_before = expected;
  }
  void put_back() {
    world.put_back(world_before);
    pool.restore(*pool_before);
    freeze = freeze_before;
    expected = expected_before;
  }

  // Merges rounds before `round` whole, and prepares that one.
  void go_to(int round) {
    for (int earlier = 0; earlier < round; ++earlier) {
      prepare(earlier);
      ASSERT_TRUE(run().done);
      world.restart(Survivors::kNone, 1);
      pool.remove(freeze);
    }
    prepare(round);
    world.restart(Survivors::kAll, 1);
  }

  SimulatedWorld world;
  ThinPool pool{world, kThinBlocks, 5 * kThinBlocks};
  std::shared_ptr<SimulatedDirectory> directory = std::make_shared<SimulatedDirectory>(world);
  MergeOptions options;
  uint32_t freeze = 0;
  ThinPool::Contents expected;
  bool was_round = false;

  SimulatedWorld::Saved world_before;
  std::shared_ptr<ThinPool::Backup> pool_before;
  uint32_t freeze_before = 0;
  ThinPool::Contents expected_before;
};

class CutRound : public RoundsUnderFire, public testing::WithParamInterface<int> {};

TEST_P(CutRound, AnywhereLosesNothingAndTheNextRoundIsRight) {
  constexpr Survivors kRoundOutcomes[] = {Survivors::kNone, Survivors::kAll, Survivors::kPrefix,
                                          Survivors::kRandom, Survivors::kGarbage};
  ASSERT_NO_FATAL_FAILURE(go_to(GetParam()));
  save();
  uint64_t cuts = 0;
  for (uint64_t index = 0;; index += kStride) {
    put_back();
    world.restart(Survivors::kNone, 1);
    world.cut_power_at(index);
    const bool said_done = run().done;
    if (!world.power_is_cut()) break;
    ++cuts;
    const SimulatedWorld::Saved cut_off = world.save();
    for (const Survivors survivors : kRoundOutcomes) {
      const std::string where =
          "cut at " + std::to_string(index) + ", " + std::to_string(static_cast<int>(survivors));
      world.put_back(cut_off);
      pool.restore(*pool_before);
      freeze = freeze_before;
      expected = expected_before;
      world.restart(survivors, index);
      ASSERT_EQ(first_difference(pool.view(freeze), expected), "") << where;
      if (said_done) {
        ASSERT_EQ(first_difference(pool.origin().contents(), expected), "") << where;
      }
      pool.write(kSnap, 1);
      pool.write(kSnap, 5);
      pool.commit();
      ASSERT_NO_FATAL_FAILURE(run_to_the_end(where));
      ASSERT_NO_FATAL_FAILURE(expect_next_round(where));
    }
  }
  EXPECT_GT(cuts, 20u / kStride);
}

// The freeze of an unfinished round is lost, as when the pool fills up. The merge that restarts
// from the beginning is a full one.
TEST_P(CutRound, WhoseFreezeIsLostRestartsWithEverything) {
  ASSERT_NO_FATAL_FAILURE(go_to(GetParam()));
  save();
  for (uint64_t index = 0;; index += 7 * kStride) {
    put_back();
    options.restart = false;
    world.restart(Survivors::kNone, 1);
    world.cut_power_at(index);
    run();
    if (!world.power_is_cut()) break;
    world.restart(Survivors::kRandom, index);
    pool.remove(freeze);
    pool.write(kSnap, 0);
    pool.write(kSnap, 5);
    pool.snapshot(++freeze, kSnap);
    pool.commit();
    expected = pool.view(freeze);
    options.restart = true;
    ASSERT_NO_FATAL_FAILURE(run_to_the_end("cut at " + std::to_string(index)));
    options.restart = false;
    ASSERT_NO_FATAL_FAILURE(expect_next_round("cut at " + std::to_string(index)));
  }
}

TEST_P(CutRound, WithAFaultAnywhereIsNeverFalselyDone) {
  ASSERT_NO_FATAL_FAILURE(go_to(GetParam()));
  save();
  for (const Fault::Kind kind : {Fault::Kind::kError, Fault::Kind::kShort}) {
    uint64_t end = UINT64_MAX;
    for (uint64_t index = 0; index < end; index += kStride) {
      const std::string where = "fault at " + std::to_string(index);
      put_back();
      world.restart(Survivors::kNone, 1);
      world.fail_at(index, {kind, 5, false});
      const Result result = run();
      if (world.operations() <= index) end = index;
      if (result.done) {
        world.restart(Survivors::kNone, index);
        ASSERT_EQ(first_difference(pool.origin().contents(), expected), "") << where;
      } else {
        world.restart(Survivors::kRandom, index);
      }
      ASSERT_EQ(first_difference(pool.view(freeze), expected), "") << where;
      pool.write(kSnap, 1);
      pool.commit();
      ASSERT_NO_FATAL_FAILURE(run_to_the_end(where));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, CutRound, testing::Values(0, 1, 2),
                         [](const auto& round) { return std::to_string(round.param); });

// --- the journal of the last merge -------------------------------------------

TEST_F(RoundsUnderFire, WithoutTheLastJournalEverythingIsMerged) {
  ASSERT_NO_FATAL_FAILURE(go_to(1));
  directory->remove("journal");
  ASSERT_NO_FATAL_FAILURE(run_to_the_end("journal lost"));
  EXPECT_FALSE(was_round);
}

TEST_F(RoundsUnderFire, WithADamagedJournalNothingIsMerged) {
  ASSERT_NO_FATAL_FAILURE(go_to(1));
  const auto good = directory->file("journal");
  const auto before = pool.origin().contents();
  // The page of places, the plan, and what a torn write of the whole leaves.
  for (const size_t at : {size_t{66000}, size_t{70000}, size_t{0}}) {
    auto journal = good;
    if (at > 0) journal[at] ^= std::byte{1};
    if (at == 0) journal.resize(journal.size() / 2);
    directory->put_file("journal", journal);
    EXPECT_EQ(run().failed_with, MessageId::kDamagedJournal) << at;
  }
  EXPECT_EQ(first_difference(pool.origin().contents(), before), "");
  options.restart = true;
  ASSERT_NO_FATAL_FAILURE(run_to_the_end("restarted"));
  EXPECT_FALSE(was_round);
}

// The older journal claims less than is merged, but the origin is not as it left it.
TEST_F(RoundsUnderFire, WithAnOlderJournalNothingIsMerged) {
  ASSERT_NO_FATAL_FAILURE(go_to(1));
  const auto older = directory->file("journal");
  ASSERT_TRUE(run().done);
  pool.remove(freeze);
  directory->put_file("journal", older);
  prepare(2);
  const auto before = pool.origin().contents();
  EXPECT_EQ(run().failed_with, MessageId::kOriginChanged);
  EXPECT_EQ(first_difference(pool.origin().contents(), before), "");
  options.again = true;
  ASSERT_NO_FATAL_FAILURE(run_to_the_end("again"));
  EXPECT_FALSE(was_round);
}

TEST_F(RoundsUnderFire, WithTheJournalOfAnotherOriginNothingIsMerged) {
  ASSERT_NO_FATAL_FAILURE(go_to(1));
  Job job = pool.job(directory, freeze, kSnap);
  job.origin.identity = "simulated:another";
  const auto before = pool.origin().contents();
  Progress progress;
  try {
    Merger(job, options, progress, {}).merge([](const PlanReport&) { return true; });
    FAIL() << "merged with another origin's journal";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kForeignJournal) << error.what();
  }
  EXPECT_EQ(first_difference(pool.origin().contents(), before), "");
}

}  // namespace
}  // namespace extmerge
