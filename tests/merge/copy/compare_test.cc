// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <vector>

namespace extmerge {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// The costs of a MiB, in microseconds.
struct Devices {
  unsigned read_data = 1000;
  unsigned read_origin = 1000;
  unsigned write = 1000;
  unsigned percent_equal = 90;

  uint64_t cost(bool compared) const {
    if (!compared) return read_data + write;
    return read_data + read_origin + write * (100 - percent_equal) / 100;
  }
  // The cost of the better mode: always or never.
  uint64_t least() const { return std::min(cost(true), cost(false)); }
};

// A plan of pieces of 1 MiB, four of them in flight, on a clock of its own.
class Plan {
 public:
  explicit Plan(uint64_t mib) : governor_(Bytes(mib * kMiB), Bytes(kInFlight * kMiB)) {}

  // Takes the next `mib` MiB of the plan and returns how many were compared.
  uint64_t run(uint64_t mib, const Devices& devices) {
    uint64_t compared = 0;
    for (uint64_t i = 0; i < mib; ++i) {
      in_flight_.push_back(governor_.should_compare());
      compared += in_flight_.back();
      if (in_flight_.size() < kInFlight) continue;
      const bool mode = in_flight_.front();
      in_flight_.pop_front();
      pass(devices.cost(mode));
      governor_.committed({mode, Bytes(kMiB), Bytes(kMiB / 100 * (100 - devices.percent_equal)),
                           CompareGovernor::Clock::time_point(now_)});
    }
    return compared;
  }

  void pass(uint64_t microseconds) { now_ += std::chrono::microseconds(microseconds); }
  uint64_t now() const { return static_cast<uint64_t>(now_.count()); }

 private:
  static constexpr size_t kInFlight = 4;

  CompareGovernor governor_;
  std::deque<bool> in_flight_;
  std::chrono::microseconds now_{0};
};

constexpr Devices kSlowReads{.read_origin = 2000};
constexpr Devices kSlowWrites{.write = 5000};
constexpr Devices kNothingEqual{.percent_equal = 0};

// All relations of the three costs up to 1 to 10, and all shares of equal bytes.
TEST(CompareGovernor, IsWithinATenthOfTheBetterModeWhateverTheDevicesAre) {
  constexpr unsigned kCosts[] = {100, 200, 500, 1000};
  for (const unsigned read_data : kCosts) {
    for (const unsigned read_origin : kCosts) {
      for (const unsigned write : kCosts) {
        for (const unsigned percent : {0u, 1u, 10u, 25u, 50u, 75u, 90u, 99u, 100u}) {
          const Devices devices{read_data, read_origin, write, percent};
          const bool far_apart =
              std::max(devices.cost(true), devices.cost(false)) > 4 * devices.least();
          const uint64_t mib = far_apart ? 10240 : 2048;
          Plan plan(mib);
          plan.run(mib, devices);
          EXPECT_LE(plan.now(), devices.least() * mib * 11 / 10)
              << read_data << ' ' << read_origin << ' ' << write << ' ' << percent;
        }
      }
    }
  }
}

TEST(CompareGovernor, ComparesWhereItTakesNoMoreThanATwentiethLonger) {
  for (const unsigned read_origin : {900u, 980u}) {
    const Devices devices{.read_origin = read_origin};
    Plan plan(10240);
    EXPECT_GE(plan.run(10240, devices), 9900u) << read_origin;
  }
}

TEST(CompareGovernor, ComparesWhereWritesAreSlow) {
  Plan plan(10240);
  EXPECT_GE(plan.run(10240, kSlowWrites), 9900u);
}

TEST(CompareGovernor, DoesNotCompareWhereReadsAreSlowHoweverMuchIsEqual) {
  for (const unsigned percent : {50u, 90u, 100u}) {
    Devices devices = kSlowReads;
    devices.percent_equal = percent;
    Plan plan(10240);
    EXPECT_LE(plan.run(10240, devices), 300u) << percent;
  }
}

TEST(CompareGovernor, WhereNothingIsEqualAHundredthIsComparedEvenIfItIsNoSlower) {
  for (const unsigned read_origin : {0u, 1000u}) {
    Devices devices = kNothingEqual;
    devices.read_origin = read_origin;
    Plan plan(10240);
    EXPECT_EQ(plan.run(8, devices), 8u);
    EXPECT_LE(plan.run(10240 - 8, devices), 102u - 8) << read_origin;
  }
}

TEST(CompareGovernor, AShortPlanIsComparedUnlessNothingIsEqual) {
  EXPECT_EQ(Plan(63).run(63, kSlowReads), 63u);
  EXPECT_LT(Plan(64).run(64, kSlowReads), 64u);
  EXPECT_LE(Plan(63).run(63, kNothingEqual), 8u + 3);
}

TEST(CompareGovernor, TheFirstTrialsTakeThirtyTwoMiBEachAndThenTheFasterIsHeld) {
  Plan plan(10240);
  // The first piece in flight has no time, and three are in flight at each change.
  EXPECT_EQ(plan.run(36, kSlowReads), 36u);
  // Two more, since the last ones compared and the change count for neither.
  EXPECT_EQ(plan.run(4 + 31 + 256, kSlowReads), 0u);
  const uint64_t tried = plan.run(40, kSlowReads);
  EXPECT_GT(tried, 20u);
  EXPECT_LT(tried, 27u) << "as long as 32 MiB take without, and what was in flight";
  EXPECT_EQ(plan.run(500, kSlowReads), 0u) << "held for twice as long";
}

TEST(CompareGovernor, AVerdictChangesInTheMiddleOfAPlan) {
  Plan plan(100000);
  plan.run(8000, kSlowReads);
  EXPECT_GE(plan.run(8000, kSlowWrites), 5500u) << "noticed after the longest hold";
  EXPECT_GE(plan.run(1000, kSlowWrites), 950u);
  EXPECT_LE(plan.run(8000, kSlowReads), 2500u);
  EXPECT_LE(plan.run(1000, kSlowReads), 50u);
  EXPECT_LE(plan.run(8000, kNothingEqual), 80u);
  EXPECT_GE(plan.run(8000, kSlowWrites), 5500u) << "equality is looked for again";
}

TEST(CompareGovernor, EqualityThatEndsEndsAHoldOfComparing) {
  Plan plan(10240);
  plan.run(2500, kSlowWrites);
  EXPECT_EQ(plan.run(60, kSlowWrites), 60u) << "in a hold of 2 GiB";
  EXPECT_LE(plan.run(1400, kNothingEqual), 200u);
}

TEST(CompareGovernor, WhereWhatIsEqualLiesInStretchesItIsStillWorthComparing) {
  Plan plan(16000);
  uint64_t best = 0;
  for (int i = 0; i < 1000; ++i) {
    Devices devices = kSlowWrites;
    devices.percent_equal = i % 2 == 0 ? 100 : 0;
    plan.run(16, devices);
    best += 16 * devices.cost(true);
  }
  EXPECT_LE(plan.now(), best * 11 / 10);
}

TEST(CompareGovernor, AStretchInWhichAllDiffersCausesATrialAndNoMore) {
  Devices all_differs = kSlowWrites;
  all_differs.percent_equal = 0;
  Plan plan(10240);
  plan.run(2500, kSlowWrites);
  EXPECT_LT(plan.run(100, all_differs), 100u);
  EXPECT_GE(plan.run(1000, kSlowWrites), 950u);
}

TEST(CompareGovernor, AStallIsCorrectedByTheNextTrial) {
  for (const uint64_t before : {20u, 50u, 200u, 400u, 800u}) {
    Plan plan(20480);
    plan.run(before, kSlowWrites);
    plan.pass(5'000'000);
    plan.run(10240 - before, kSlowWrites);
    EXPECT_GE(plan.run(10240, kSlowWrites), 9900u) << before;
    EXPECT_LE(plan.now(), kSlowWrites.least() * 20480 * 11 / 10 + 5'000'000) << before;
  }
}

// Commits `count` pieces of 1 MiB, each of them `each` after the one before.
void tell(CompareGovernor& governor, bool compared, int count, std::chrono::milliseconds each,
          CompareGovernor::Clock::time_point& now) {
  for (int i = 0; i < count; ++i) {
    now += each;
    governor.committed({compared, Bytes(kMiB), Bytes(0), now});
  }
}

TEST(CompareGovernor, NeitherModeIsChargedForAChangeNorForPiecesFromBeforeIt) {
  using std::chrono::milliseconds;
  CompareGovernor governor(Bytes(1 << 30), Bytes(4 * kMiB));
  CompareGovernor::Clock::time_point now;
  tell(governor, true, 33, milliseconds(10), now);
  EXPECT_FALSE(governor.should_compare());
  // These pieces were in flight and are very slow; so is the change.
  tell(governor, true, 3, milliseconds(1000), now);
  tell(governor, false, 1, milliseconds(1000), now);
  tell(governor, false, 31, milliseconds(5), now);
  EXPECT_FALSE(governor.should_compare()) << "the trial is not over";
  tell(governor, false, 256 + 1, milliseconds(5), now);
  EXPECT_TRUE(governor.should_compare()) << "copying was held, and comparing is tried again";
}

TEST(CompareGovernor, TrialsGrowWithWhatIsInFlight) {
  CompareGovernor governor(Bytes(1 << 30), Bytes(8 * kMiB));
  CompareGovernor::Clock::time_point now;
  tell(governor, true, 64, std::chrono::milliseconds(10), now);
  EXPECT_TRUE(governor.should_compare());
  tell(governor, true, 1, std::chrono::milliseconds(10), now);
  EXPECT_FALSE(governor.should_compare());
}

}  // namespace
}  // namespace extmerge
