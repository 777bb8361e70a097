// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/rate_limit.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <thread>
#include <vector>

namespace extmerge {
namespace {

using namespace std::chrono_literals;
using Clock = RateLimit::Clock;

// A clock that advances only by sleep and work.
class ToyClock {
 public:
  RateLimit limit(uint64_t rate, uint64_t most) {
    return RateLimit(
        Bytes(rate), Bytes(most), [this] { return now_; },
        [this](Clock::time_point when, const std::stop_token&) { now_ = std::max(now_, when); });
  }
  void work(Clock::duration time) { now_ += time; }
  double seconds() const { return std::chrono::duration<double>(now_ - start_).count(); }

 private:
  const Clock::time_point start_{1h};
  Clock::time_point now_ = start_;
};

TEST(RateLimit, ATenthOfASecondPassesAtOnceAndTheRestAtTheRate) {
  ToyClock clock;
  RateLimit limit = clock.limit(1000000, 100000);
  EXPECT_TRUE(limit.wait_for(Bytes(100000), {}));
  EXPECT_EQ(clock.seconds(), 0);
  EXPECT_TRUE(limit.wait_for(Bytes(50000), {}));
  EXPECT_NEAR(clock.seconds(), 0.05, 1e-6);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(limit.wait_for(Bytes(100000), {}));
  EXPECT_NEAR(clock.seconds(), 10.05, 1e-5);
}

TEST(RateLimit, IdleTimeIsNotSavedUpBeyondATenthOfASecond) {
  ToyClock clock;
  RateLimit limit = clock.limit(1000000, 100000);
  clock.work(1h);
  const double start = clock.seconds();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.wait_for(Bytes(100000), {}));
  EXPECT_NEAR(clock.seconds() - start, 0.2, 1e-5);
}

TEST(RateLimit, TimeSpentWorkingCounts) {
  ToyClock clock;
  RateLimit limit = clock.limit(1000000, 10000);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(limit.wait_for(Bytes(10000), {}));
    clock.work(20ms);  // slower than the limit
  }
  EXPECT_NEAR(clock.seconds(), 2.0, 1e-6);
}

TEST(RateLimit, ARateBelowOneBlockStillLetsBlocksPass) {
  ToyClock clock;
  RateLimit limit = clock.limit(512, 512);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(limit.wait_for(Bytes(512), {}));
  EXPECT_NEAR(clock.seconds(), 4.0, 1e-5);
}

RC_GTEST_PROP(RateLimit, NoStretchOfTimeSeesMoreThanTheRateAndATenth, ()) {
  const auto rate = *rc::gen::inRange<uint64_t>(5000, uint64_t{1} << 40);
  const auto most = std::max<uint64_t>(rate / 10, 512);
  ToyClock clock;
  RateLimit limit = clock.limit(rate, most);
  struct Passed {
    double when;
    uint64_t amount;
  };
  std::vector<Passed> passed;
  const auto steps = *rc::gen::container<std::vector<std::pair<unsigned, unsigned>>>(
      rc::gen::pair(rc::gen::inRange(1u, 1000u), rc::gen::inRange(0u, 300u)));
  for (const auto& [share, pause_ms] : steps) {
    if (pause_ms > 200) clock.work(std::chrono::milliseconds(pause_ms));
    const uint64_t amount = std::max<uint64_t>(most / 1000 * share, 1);
    RC_ASSERT(limit.wait_for(Bytes(amount), {}));
    passed.push_back({clock.seconds(), amount});
  }
  for (size_t from = 0; from < passed.size(); ++from) {
    double sum = 0;
    for (size_t to = from; to < passed.size(); ++to) {
      sum += static_cast<double>(passed[to].amount);
      const double time = passed[to].when - passed[from].when;
      const auto allowed = static_cast<double>(rate) * time + static_cast<double>(most);
      RC_ASSERT(sum <= allowed * 1.000001 + 16);
    }
  }
}

TEST(RateLimit, AStopEndsALongSleepAtOnce) {
  RateLimit limit(Bytes(1), Bytes(512));
  std::stop_source stop;
  EXPECT_TRUE(limit.wait_for(Bytes(512), stop.get_token()));
  const auto start = Clock::now();
  std::jthread stopper([&] {
    std::this_thread::sleep_for(30ms);
    stop.request_stop();
  });
  EXPECT_FALSE(limit.wait_for(Bytes(512), stop.get_token()));
  EXPECT_LT(Clock::now() - start, 5s);
}

TEST(RateLimit, PiecesAreATenthOfASecondInWholeUnits) {
  EXPECT_EQ(largest_piece(Bytes(10 << 20), Bytes(512)), Bytes(1 << 20));
  EXPECT_EQ(largest_piece(Bytes(100000), Bytes(512)), Bytes(8192));
  EXPECT_EQ(largest_piece(Bytes(40959), Bytes(512)), Bytes(512));
  EXPECT_EQ(largest_piece(Bytes(1), Bytes(4096)), Bytes(4096));
}

}  // namespace
}  // namespace extmerge
