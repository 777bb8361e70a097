// SPDX-License-Identifier: GPL-3.0-or-later
//
// The table at the top of merge/journal/choice.h, row by row.

#include "merge/journal/choice.h"

#include <gtest/gtest.h>

#include "merge/plan/digest.h"
#include "tests/merge/journal/journal_fixture.h"

namespace extmerge {
namespace {

constexpr uint64_t kOriginSize = 64 * kTestBlock;

MergeRecord wanted_record() {
  MergeRecord record;
  record.metadata = {"/images/metadata", "file:1"};
  record.data = {"/images/data", "file:2"};
  record.origin = {"/images/origin", "file:3"};
  record.thin_id = ThinId{1};
  record.creation_time = 4;
  record.transaction_id = 5;
  record.mapping_root = MetadataBlock(77);
  record.block_size = DataBlockSize(Bytes(kTestBlock));
  record.logical_block_size = Bytes(512);
  record.origin_size_before = record.origin_size_after = record.plan_end = Bytes(kOriginSize);
  record.mapped_blocks = 2;
  record.runs = 1;
  record.copy_bytes = Bytes(2 * kTestBlock);
  RunDigest digest;
  digest.add(make_run(3, 9, 2));
  record.digest = digest.finish(record.limits());
  return record;
}

class JournalChoice : public testing::Test {
 protected:
  void begin(bool done) { begin(done, wanted_record()); }
  void begin(bool done, const MergeRecord& record) {
    journal = Journal::begin(directory, kTestName, record);
    ListedRuns runs({make_run(3, 9, 2)});
    journal->publish(runs);
    if (done) {
      journal->record_progress({wanted_record().copy_bytes, {}});
      journal->record_done(42);
    }
  }
  JournalDecision choose(const MergeRecord& wanted, const JournalWishes& wishes = {}) {
    return decide(journal.get(), wanted, wishes, [&] {
      ++fingerprints_taken;
      return origin_unchanged;
    });
  }
  static void expect_new(const JournalDecision& decision) {
    EXPECT_FALSE(decision.go_on);
    EXPECT_FALSE(decision.refusal) << decision.refusal->what();
  }
  static void expect_refused(const JournalDecision& decision, MessageId id, int exit_status) {
    EXPECT_FALSE(decision.go_on);
    ASSERT_TRUE(decision.refusal);
    EXPECT_EQ(decision.refusal->id(), id) << decision.refusal->what();
    EXPECT_EQ(decision.refusal->exit_status(), exit_status);
  }

  SimulatedWorld world;
  SimulatedDirectory directory{world};
  std::unique_ptr<Journal> journal;
  bool origin_unchanged = true;
  int fingerprints_taken = 0;
};

TEST_F(JournalChoice, WithoutAJournalAMergeBeginsAndAResumeCannot) {
  expect_new(choose(wanted_record()));
  expect_refused(choose(wanted_record(), {.must_resume = true}), MessageId::kNoJournal, 6);
}

TEST_F(JournalChoice, TheSamePlanUnfinishedIsGoneOnWith) {
  begin(false);
  EXPECT_TRUE(choose(wanted_record()).go_on);
  EXPECT_TRUE(choose(wanted_record(), {.must_resume = true}).go_on);
  EXPECT_TRUE(choose(wanted_record(), {.again = true}).go_on) << "again is about finished ones";
  expect_new(choose(wanted_record(), {.restart = true}));
  EXPECT_EQ(fingerprints_taken, 0);
}

TEST_F(JournalChoice, AnotherOriginsJournalIsRefusedWhateverIsWished) {
  for (const bool done : {false, true}) {
    begin(done);
    MergeRecord wanted = wanted_record();
    wanted.origin.identity = "file:4";
    for (const JournalWishes& wishes :
         {JournalWishes{}, JournalWishes{.restart = true, .again = true, .allow_stale = true}}) {
      expect_refused(choose(wanted, wishes), MessageId::kForeignJournal, 6);
    }
  }
}

TEST_F(JournalChoice, ASecondSnapshotIntoAHalfMergedOriginIsRefused) {
  begin(false);
  MergeRecord wanted = wanted_record();
  wanted.thin_id = ThinId{2};
  expect_refused(choose(wanted), MessageId::kHalfMerged, 6);
  expect_refused(choose(wanted, {.allow_stale = true}), MessageId::kHalfMerged, 6);
  expect_new(choose(wanted, {.restart = true}));
  wanted = wanted_record();
  wanted.data.identity = "file:9";
  expect_refused(choose(wanted), MessageId::kHalfMerged, 6);
  expect_refused(choose(wanted, {.must_resume = true}), MessageId::kOtherSource, 4);
}

TEST_F(JournalChoice, AThinIdThatWasUsedAgainIsAnotherDevice) {
  begin(false);
  MergeRecord younger = wanted_record();
  younger.creation_time = 5;
  expect_refused(choose(younger), MessageId::kThinIdReused, 4);
  MergeRecord later = wanted_record();
  later.transaction_id = 6;
  expect_refused(choose(later, {.allow_stale = true}), MessageId::kThinIdReused, 4);
}

TEST_F(JournalChoice, AnotherPlanIsStaleUnlessAllowed) {
  begin(false);
  MergeRecord other = wanted_record();
  other.digest.bytes[3] ^= 1;
  expect_refused(choose(other), MessageId::kStale, 4);
  expect_refused(choose(other, {.must_resume = true}), MessageId::kStale, 4);
  expect_refused(choose(other, {.allow_stale = true}), MessageId::kStale, 4);
  EXPECT_TRUE(choose(other, {.must_resume = true, .allow_stale = true}).go_on);
}

// thin_repair and thin_restore write the same mappings to other metadata blocks.
TEST_F(JournalChoice, TheSamePlanFromAnotherRootIsGoneOnWith) {
  begin(false);
  MergeRecord moved = wanted_record();
  moved.mapping_root = MetadataBlock(78);
  EXPECT_TRUE(choose(moved).go_on);
  EXPECT_TRUE(choose(moved, {.must_resume = true}).go_on);
}

TEST_F(JournalChoice, AnotherRootIsStaleWhereThereIsAnUndoLog) {
  MergeRecord saved = wanted_record();
  saved.undo_log = "/state/undo";
  begin(false, saved);
  MergeRecord moved = saved;
  moved.mapping_root = MetadataBlock(78);
  expect_refused(choose(moved), MessageId::kStale, 4);
  EXPECT_TRUE(choose(saved).go_on);
}

TEST_F(JournalChoice, TheOriginMayHaveItsSizeBeforeOrAfterAnExtension) {
  MergeRecord record = wanted_record();
  record.beyond_origin = BeyondOriginChoice::kExtend;
  record.origin_size_after = record.plan_end = Bytes(kOriginSize + 4096);
  record.thin_size = record.plan_end;
  RunDigest digest;
  digest.add(make_run(3, 9, 2));
  record.digest = digest.finish(record.limits());
  journal = Journal::begin(directory, kTestName, record);
  ListedRuns runs({make_run(3, 9, 2)});
  journal->publish(runs);
  for (const auto& [size, fits] : {std::pair{kOriginSize, true},
                                   {kOriginSize + 4096, true},
                                   {kOriginSize + 512, false},
                                   {kOriginSize - 512, false}}) {
    MergeRecord wanted = record;
    wanted.origin_size_before = Bytes(size);
    const JournalDecision decision = choose(wanted);
    EXPECT_EQ(decision.go_on, fits) << size;
    if (!fits) expect_refused(decision, MessageId::kSizeChanged, 4);
  }
}

TEST_F(JournalChoice, LogicalBlocksLargerThanWhenItBeganAreRefused) {
  begin(false);
  MergeRecord wanted = wanted_record();
  wanted.logical_block_size = Bytes(4096);
  expect_refused(choose(wanted), MessageId::kSizeChanged, 4);
}

TEST_F(JournalChoice, AFinishedPlanIsNotMergedAgainByAccident) {
  begin(true);
  expect_refused(choose(wanted_record()), MessageId::kAlreadyDone, 6);
  expect_refused(choose(wanted_record(), {.restart = true}), MessageId::kAlreadyDone, 6);
  expect_refused(choose(wanted_record(), {.must_resume = true}), MessageId::kNothingToResume, 6);
  expect_new(choose(wanted_record(), {.again = true}));
  EXPECT_EQ(fingerprints_taken, 0);
}

TEST_F(JournalChoice, ANewRoundNeedsAnOriginAsTheLastOneLeftIt) {
  begin(true);
  MergeRecord wanted = wanted_record();
  wanted.mapping_root = MetadataBlock(78);
  wanted.digest.bytes[3] ^= 1;
  expect_new(choose(wanted));
  EXPECT_EQ(fingerprints_taken, 1);
  origin_unchanged = false;
  expect_refused(choose(wanted), MessageId::kOriginChanged, 4);
  expect_new(choose(wanted, {.again = true}));
}

// --- a freeze has an id of its own each time ----------------------------------

TEST_F(JournalChoice, AStateMergedUnderTheIdOfAFreezeIsDoneAlready) {
  begin(true);
  MergeRecord snap = wanted_record();  // the same state, by the id of the frozen volume
  snap.thin_id = ThinId{7};
  snap.transaction_id = 9;
  JournalWishes wishes;
  expect_new(choose(snap, wishes));
  wishes.merged_as = ThinId{1};
  expect_refused(choose(snap, wishes), MessageId::kAlreadyDone, 6);
  wishes.merged_as = ThinId{2};
  expect_new(choose(snap, wishes));
}

TEST_F(JournalChoice, AFreezeOfALaterStateIsANewRound) {
  begin(true);
  MergeRecord snap = wanted_record();
  snap.mapping_root = MetadataBlock(78);
  JournalWishes wishes;
  wishes.merged_as = ThinId{1};
  expect_new(choose(snap, wishes));
  EXPECT_EQ(fingerprints_taken, 1);
  origin_unchanged = false;
  expect_refused(choose(snap, wishes), MessageId::kOriginChanged, 4);
}

TEST_F(JournalChoice, AFreezeThatIsUnfinishedIsNotGoneOnWithUnderAnotherId) {
  begin(false);
  MergeRecord snap = wanted_record();
  snap.thin_id = ThinId{7};
  JournalWishes wishes;
  wishes.merged_as = ThinId{1};
  expect_refused(choose(snap, wishes), MessageId::kHalfMerged, 6);
}

TEST_F(JournalChoice, ALastRoundMergesWhatIsDoneButNotOverAChangedOrigin) {
  begin(true);
  JournalWishes wishes;
  wishes.last_round = true;
  expect_new(choose(wanted_record(), wishes));
  EXPECT_EQ(fingerprints_taken, 1);
  origin_unchanged = false;
  expect_refused(choose(wanted_record(), wishes), MessageId::kOriginChanged, 4);
  wishes.again = true;
  expect_new(choose(wanted_record(), wishes));
}

TEST_F(JournalChoice, ALastRoundDoesNotResumeWhatIsDone) {
  begin(true);
  JournalWishes wishes;
  wishes.must_resume = wishes.last_round = true;
  expect_refused(choose(wanted_record(), wishes), MessageId::kNothingToResume, 6);
}

TEST_F(JournalChoice, ALastRoundGoesOnWithWhatIsUnfinished) {
  begin(false);
  JournalWishes wishes;
  wishes.last_round = true;
  EXPECT_TRUE(choose(wanted_record(), wishes).go_on);
}

}  // namespace
}  // namespace extmerge
