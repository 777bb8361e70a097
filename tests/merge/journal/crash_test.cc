// SPDX-License-Identifier: GPL-3.0-or-later
//
// The power is cut, or an operation fails, at each operation in turn. Whichever unsynced writes
// survive, there is no journal, or a whole one. Its position was recorded before, or was being
// recorded.

#include <gtest/gtest.h>

#include "merge/journal/format.h"
#include "tests/merge/journal/journal_fixture.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

constexpr Survivors kSurvivors[] = {Survivors::kNone, Survivors::kAll, Survivors::kPrefix,
                                    Survivors::kRandom};

// The journal operations of one merge, and the progress that is certain.
class JournalledMerge {
 public:
  explicit JournalledMerge(bool replaces_older) {
    if (replaces_older) {
      const auto older = publish_journal(directory_, old_runs_);
      older->record_progress({record_for(old_runs_).copy_bytes, {}});
      older->record_done(1);
      has_older_ = true;
    }
    world_.restart(Survivors::kAll, 0);
  }

  // Runs until the first failure.
  void run() {
    try {
      auto journal = Journal::begin(directory_, kTestName, record_);
      ListedRuns source(runs_);
      publishing_ = true;
      journal->publish(source);
      published_ = true;
      for (const uint64_t position :
           {1000u, 2000u, 3000u, 0u, 4000u, 5000u, 6000u, 7000u, 8000u, 9000u})
        record(*journal, Bytes(position));
      record(*journal, record_.copy_bytes);
      finishing_ = true;
      journal->record_done(42);
      done_ = true;
    } catch (const Error& error) {
      EXPECT_NE(error.id(), MessageId::kInternal) << error.what();
    }
  }

  void check() {
    const auto journal = Journal::open(directory_, kTestName, true);
    if (!journal || on_disk(journal->record()) != on_disk(record_)) {
      EXPECT_FALSE(published_);
      EXPECT_EQ(journal != nullptr, has_older_);
      if (!journal) return;
      EXPECT_EQ(on_disk(journal->record()), on_disk(record_for(old_runs_)));
      EXPECT_EQ(journal->state(), JournalState::kDone);
      return;
    }
    EXPECT_TRUE(publishing_);
    EXPECT_EQ(directory_.file(kTestName).size(), kPlanOffset + kPlanPageSize);
    Bytes skip;
    EXPECT_EQ(drain(*journal->runs_from(Bytes(0), skip)), runs_);
    if (journal->state() == JournalState::kDone) {
      EXPECT_TRUE(finishing_);
      EXPECT_EQ(journal->fingerprint(), 42u);
      EXPECT_EQ(position_of(*journal), record_.copy_bytes);
    } else {
      EXPECT_FALSE(done_);
      EXPECT_TRUE(position_of(*journal) == recorded_ || position_of(*journal) == in_flight_)
          << position_of(*journal).value();
      go_on(*journal);
    }
  }

  SimulatedWorld& world() { return world_; }

 private:
  void record(Journal& journal, Bytes position) {
    in_flight_ = position;
    journal.record_progress({position, {}});
    recorded_ = position;
    EXPECT_EQ(highest_claim(directory_.file(kTestName)), position);
  }

  void go_on(Journal& journal) {
    const Bytes half =
        position_of(journal) + Bytes((record_.copy_bytes - position_of(journal)).value() / 2);
    journal.record_progress({half, {}});
    EXPECT_EQ(position_of(*Journal::open(directory_, kTestName, false)), half);
    EXPECT_EQ(highest_claim(directory_.file(kTestName)), half);
    journal.record_progress({record_.copy_bytes, {}});
    journal.record_done(43);
    EXPECT_EQ(Journal::open(directory_, kTestName, false)->fingerprint(), 43u);
  }

  SimulatedWorld world_;
  SimulatedDirectory directory_{world_};
  const Runs runs_ = scattered_runs(50);
  const Runs old_runs_ = scattered_runs(30, 2);
  const MergeRecord record_ = record_for(runs_);
  bool has_older_ = false;
  bool publishing_ = false;
  bool published_ = false;
  bool finishing_ = false;
  bool done_ = false;
  Bytes recorded_;
  Bytes in_flight_;
};

uint64_t operations_of_a_whole_run() {
  JournalledMerge scenario(false);
  scenario.run();
  const uint64_t operations = scenario.world().operations();
  scenario.check();
  return operations;
}

TEST(JournalCrash, APowerCutAtAnyOperationLeavesNoJournalOrTheWholeOne) {
  const uint64_t operations = operations_of_a_whole_run();
  ASSERT_GT(operations, 28u);
  for (const bool replaces_older : {false, true}) {
    for (uint64_t index = 0; index <= operations; index += kShortStride) {
      for (const Survivors survivors : kSurvivors) {
        for (uint64_t seed = 0; seed < 4; ++seed) {
          SCOPED_TRACE(testing::Message() << "cut at " << index << ", survivors "
                                          << static_cast<int>(survivors) << ", seed " << seed);
          JournalledMerge scenario(replaces_older);
          scenario.world().cut_power_at(index);
          scenario.run();
          scenario.world().restart(survivors, seed);
          scenario.check();
        }
      }
    }
  }
}

TEST(JournalCrash, AFailureOfAnyOperationLeavesNoJournalOrTheWholeOne) {
  const uint64_t operations = operations_of_a_whole_run();
  for (const auto kind : {Fault::Kind::kError, Fault::Kind::kShort}) {
    for (uint64_t index = 0; index < operations; index += kShortStride) {
      for (const bool power_goes_too : {false, true}) {
        SCOPED_TRACE(testing::Message()
                     << "failure at " << index << ", power goes " << power_goes_too);
        JournalledMerge scenario(true);
        scenario.world().fail_at(index, {kind, EIO, false});
        scenario.run();
        if (power_goes_too) scenario.world().restart(Survivors::kRandom, index);
        scenario.check();
      }
    }
  }
}

}  // namespace
}  // namespace extmerge
