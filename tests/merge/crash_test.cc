// SPDX-License-Identifier: GPL-3.0-or-later
//
// Cuts the power of the whole program on simulated disks at every single operation: reads, writes,
// flushes, renames, including those of journal and undo log. Each cut has sixteen outcomes for the
// unflushed writes. After each, the snapshot's view must be unchanged. Run again, the merge must
// end with the right bytes, and an undo with the old bytes. A power cut must not take back a
// reported "done". All this is tested with a cut in the second run, too.
//
// All outcomes of a cut are tried before the next run: the disks' contents are saved and restored.

#include <gtest/gtest.h>

#include "tests/merge/crash_rig.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

constexpr uint64_t kSecondCuts = 416 / kStride;

struct Outcome {
  Survivors survivors;
  uint64_t seed;
};
constexpr Outcome kOutcomes[] = {
    {Survivors::kNone, 1},   {Survivors::kAll, 1},     {Survivors::kPrefix, 1},
    {Survivors::kPrefix, 2}, {Survivors::kPrefix, 3},  {Survivors::kSuffix, 1},
    {Survivors::kSuffix, 2}, {Survivors::kRandom, 1},  {Survivors::kRandom, 2},
    {Survivors::kRandom, 3}, {Survivors::kRandom, 4},  {Survivors::kRandom, 5},
    {Survivors::kRandom, 6}, {Survivors::kGarbage, 1}, {Survivors::kGarbage, 2},
    {Survivors::kGarbage, 3}};

std::string describe(const Outcome& outcome) {
  return ", survivors " + std::to_string(static_cast<int>(outcome.survivors)) + "/" +
         std::to_string(outcome.seed);
}

class Crash : public testing::TestWithParam<Scenario (*)()> {
 protected:
  // Runs with the power cut at `index`; false if the run ends before.
  bool run_and_cut(uint64_t index, const std::string& where) {
    rig.world.cut_power_at(index);
    const Attempt attempt = rig.run();
    if (rig.world.power_is_cut()) {
      // A run that says done must be done, whatever survives.
      said_done = attempt.done;
      return true;
    }
    EXPECT_TRUE(attempt.done) << where << ": " << attempt.words;
    return false;
  }

  // Tries each outcome of the last cut, and runs again after it.
  uint64_t try_outcomes(uint64_t index, const std::string& where) {
    const SimulatedWorld::Saved cut_off = rig.world.save();
    uint64_t tried = 0;
    for (const Outcome& outcome : kOutcomes) {
      rig.world.put_back(cut_off);
      rig.world.restart(outcome.survivors, outcome.seed + index);
      const std::string here = where + describe(outcome);
      rig.expect_unharmed(here);
      if (said_done) rig.expect_done(here + ", said to be done");
      rig.finish(here);
      ++tried;
      if (HasFailure()) break;
    }
    return tried;
  }

  void start_over() {
    rig.world.put_back(first);
    rig.world.restart(Survivors::kNone, 1);
  }

  const Scenario scenario = GetParam()();
  CrashRig rig{scenario};
  const SimulatedWorld::Saved first = rig.world.save();
  bool said_done = false;
};

TEST_P(Crash, AtAnyOperationKeepsTheViewAndIsMendedByRunningAgain) {
  uint64_t crashes = 0;
  for (uint64_t index = 0;; index += kStride) {
    start_over();
    const std::string where = std::string(scenario.name) + ", cut at " + std::to_string(index);
    if (!run_and_cut(index, where)) break;
    crashes += try_outcomes(index, where);
    if (HasFailure()) return;
  }
  EXPECT_GT(crashes * kStride, 1000u) << "there is more to be cut than that";
  RecordProperty("crashes", static_cast<int>(crashes));
}

TEST_P(Crash, DuringAResumeIsMendedTheSameWay) {
  const Attempt whole = rig.run();
  ASSERT_TRUE(whole.done) << whole.words;
  const uint64_t operations = rig.world.operations();

  SimulatedRandom random(7);
  uint64_t crashes = 0;
  for (uint64_t pair = 0; pair < kSecondCuts; ++pair) {
    start_over();
    const uint64_t index = random_below(random, operations);
    std::string where = std::string(scenario.name) + ", cut at " + std::to_string(index);
    run_and_cut(index, where);
    const Outcome& outcome = kOutcomes[pair % std::size(kOutcomes)];
    rig.world.restart(outcome.survivors, outcome.seed + index);
    where += describe(outcome);
    rig.expect_unharmed(where);
    const uint64_t second = random_below(random, operations);
    where += ", then at " + std::to_string(second);
    // A resume has fewer operations than a merge, so it may end before the cut.
    rig.world.cut_power_at(second);
    const Attempt attempt = rig.run();
    said_done = attempt.done;
    crashes += try_outcomes(second, where);
    if (HasFailure()) return;
  }
  RecordProperty("double_crashes", static_cast<int>(crashes));
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Crash,
                         testing::Values(whole_blocks, whole_blocks_of_4096, tail, large_blocks,
                                         growing, verified, saved, saved_large_blocks,
                                         saved_and_growing, undone, undone_and_growing, undone_half,
                                         undone_of_4096),
                         test_name);

}  // namespace
}  // namespace extmerge
