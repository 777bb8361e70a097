// SPDX-License-Identifier: GPL-3.0-or-later
//
// Power cuts and faults over copies to another device: in the first copy, in a round with a
// discarded block, and in a round that compares everything. The thin is written to between a cut
// and the next run. Whatever happens, origin and freeze stay as they were, a run that says done has
// copied the freeze, and the next round is right, too.

#include <gtest/gtest.h>

#include "merge/merge.h"
#include "tests/support/merge_scene.h"
#include "tests/support/stride.h"
#include "tests/support/thin_pool.h"

namespace extmerge {
namespace {

constexpr uint32_t kThin = 1;
constexpr uint64_t kBlocksOfThin = 6;

struct Case {
  int round = 0;
  bool whole = false;
};

class CutCopy : public testing::TestWithParam<Case> {
 protected:
  CutCopy() {
    options.pipeline.buffer_size = Bytes(ThinPool::kBlockSize);
    options.pipeline.io_size = Bytes(ThinPool::kBlockSize / 2);
    options.pipeline.checkpoint_bytes = Bytes(ThinPool::kBlockSize);
    options.pipeline.threads = 2;
    // Past the origin's end the thin shows zeros.
    pool.set_thin_size(Bytes((kBlocksOfThin + 1) * ThinPool::kBlockSize));
    pool.create(kThin);
    for (uint64_t block = 0; block + 2 < kBlocksOfThin; ++block) pool.write(kThin, block);
    auto contents = pool.origin().contents();
    contents.resize(pool.thin_size().value());
    if (GetParam().whole) std::ranges::fill(contents, std::byte{0xee});
    target = std::make_shared<SimulatedDisk>(world, "/images/target", contents);
    origin = pool.origin().contents();
    for (int round = 0; round < GetParam().round; ++round) {
      prepare(round);
      EXPECT_TRUE(run());
      world.restart(Survivors::kNone, 1);
      pool.remove(freeze);
    }
    prepare(GetParam().round);
    world.restart(Survivors::kAll, 1);
  }

  void prepare(int round) {
    if (round > 0) pool.write(kThin, 1);
    if (round > 0) pool.discard(kThin, round == 1 ? 3 : 0);
    freeze = 100 + static_cast<uint32_t>(round);
    pool.snapshot(freeze, kThin);
    pool.commit();
    options.verify = round == 2 ? VerifyChoice::kFull : VerifyChoice::kSample;
  }
  // Whether the copy is done now.
  bool run() {
    Progress progress;
    try {
      Merger merger(pool.copy_job(directory, target, GetParam().whole, freeze, kThin), options,
                    progress, {});
      const MergeReport report = merger.merge([](const PlanReport&) { return true; });
      was_round = report.plan.base.has_value();
      return report.state == JournalState::kDone;
    } catch (const Error& error) {
      words = error.what();
      return error.id() == MessageId::kAlreadyDone;
    }
  }
  void expect_copied(const std::string& where) {
    ASSERT_EQ(first_difference(target->contents(), pool.view(freeze)), "") << where;
    ASSERT_EQ(first_difference(pool.origin().contents(), origin), "") << where;
  }
  void expect_the_end(const std::string& where) {
    ASSERT_TRUE(run()) << where << ": " << words;
    ASSERT_NO_FATAL_FAILURE(expect_copied(where));
    pool.remove(freeze);
    pool.write(kThin, 5);
    pool.discard(kThin, 2);
    freeze = 200;
    pool.snapshot(freeze, kThin);
    pool.commit();
    ASSERT_TRUE(run()) << where << ", next round: " << words;
    ASSERT_NO_FATAL_FAILURE(expect_copied(where + ", next round"));
    EXPECT_TRUE(was_round) << where;
  }

  SimulatedWorld world;
  ThinPool pool{world, kBlocksOfThin, 5 * kBlocksOfThin};
  std::shared_ptr<SimulatedDirectory> directory = std::make_shared<SimulatedDirectory>(world);
  std::shared_ptr<SimulatedDisk> target;
  std::vector<std::byte> origin;
  MergeOptions options;
  uint32_t freeze = 0;
  bool was_round = false;
  std::string words;
};

TEST_P(CutCopy, AnywhereLosesNothingAndTheNextRoundIsRight) {
  const SimulatedWorld::Saved before = world.save();
  const auto pool_before = pool.back_up();
  const uint32_t freeze_before = freeze;
  uint64_t cuts = 0;
  for (uint64_t index = 0;; index += kStride) {
    world.put_back(before);
    pool.restore(*pool_before);
    freeze = freeze_before;
    world.restart(Survivors::kNone, 1);
    world.cut_power_at(index);
    const bool said_done = run();
    if (!world.power_is_cut()) break;
    ++cuts;
    const SimulatedWorld::Saved cut_off = world.save();
    constexpr Survivors kOthers[] = {Survivors::kAll, Survivors::kPrefix, Survivors::kRandom,
                                     Survivors::kGarbage};
    for (const Survivors survivors : {Survivors::kNone, kOthers[cuts % 4]}) {
      const std::string where =
          "cut at " + std::to_string(index) + ", " + std::to_string(static_cast<int>(survivors));
      world.put_back(cut_off);
      pool.restore(*pool_before);
      freeze = freeze_before;
      world.restart(survivors, index);
      if (said_done) {
        ASSERT_NO_FATAL_FAILURE(expect_copied(where));
      }
      pool.write(kThin, 1);
      pool.discard(kThin, 4);
      pool.commit();
      ASSERT_NO_FATAL_FAILURE(expect_the_end(where));
    }
  }
  EXPECT_GT(cuts, 20u / kStride);
}

TEST_P(CutCopy, WithAFaultAnywhereIsNeverFalselyDone) {
  const SimulatedWorld::Saved before = world.save();
  const auto pool_before = pool.back_up();
  const uint32_t freeze_before = freeze;
  for (const Fault::Kind kind : {Fault::Kind::kError, Fault::Kind::kShort}) {
    uint64_t end = UINT64_MAX;
    for (uint64_t index = 0; index < end; index += kStride) {
      const std::string where = "fault at " + std::to_string(index);
      world.put_back(before);
      pool.restore(*pool_before);
      freeze = freeze_before;
      world.restart(Survivors::kNone, 1);
      world.fail_at(index, {kind, 5, false});
      const bool is_done = run();
      if (world.operations() <= index) end = index;
      world.restart(is_done ? Survivors::kNone : Survivors::kRandom, index);
      if (is_done) {
        ASSERT_NO_FATAL_FAILURE(expect_copied(where));
      }
      ASSERT_NO_FATAL_FAILURE(expect_the_end(where));
    }
  }
}

// The freeze of an unfinished copy is lost. The copy that restarts from the beginning puts back
// what the lost one had written.
TEST_P(CutCopy, WhoseFreezeIsLostLeavesNothingOfIt) {
  const SimulatedWorld::Saved before = world.save();
  const auto pool_before = pool.back_up();
  const uint32_t freeze_before = freeze;
  for (uint64_t index = 0;; index += 3 * kStride) {
    world.put_back(before);
    pool.restore(*pool_before);
    freeze = freeze_before;
    options.restart = false;
    world.restart(Survivors::kNone, 1);
    world.cut_power_at(index);
    run();
    if (!world.power_is_cut()) break;
    world.restart(Survivors::kRandom, index);
    pool.remove(freeze);
    pool.discard(kThin, 1);
    pool.discard(kThin, 2);
    pool.write(kThin, 4);
    pool.snapshot(++freeze, kThin);
    pool.commit();
    options.restart = true;
    const std::string where = "cut at " + std::to_string(index);
    ASSERT_TRUE(run()) << where << ": " << words;
    ASSERT_NO_FATAL_FAILURE(expect_copied(where));
  }
}

INSTANTIATE_TEST_SUITE_P(Of, CutCopy,
                         testing::Values(Case{0, false}, Case{1, false}, Case{2, false},
                                         Case{0, true}, Case{1, true}, Case{2, true}),
                         [](const auto& tried) {
                           return std::string(tried.param.whole ? "Whole" : "Mapped") +
                                  std::to_string(tried.param.round);
                         });

}  // namespace
}  // namespace extmerge
