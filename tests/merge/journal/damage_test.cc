// SPDX-License-Identifier: GPL-3.0-or-later
//
// Damages each byte of a journal. The journal is then refused, unchanged, or at an older position:
// never at a later one, with another plan, or less than DONE.
//
// One thread opens hundreds of thousands of journals here. The suite is not called Journal, because
// `./run tests` runs suites of that name under the thread sanitizer.

#include <gtest/gtest.h>

#include <algorithm>

#include "merge/journal/pages.h"
#include "tests/merge/journal/damage_fixture.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

constexpr int kMasks[] = {0x01, 0x80, 0xff};

TEST_F(DamagedJournalTest, AFileOfAnyOtherLengthIsRefused) {
  ASSERT_EQ(copying_.size(), kPlanOffset + 2 * kPlanPageSize);
  for (size_t length = 0; length < copying_.size(); length += kShortStride) {
    const FileBytes cut(copying_.begin(), copying_.begin() + static_cast<ptrdiff_t>(length));
    ASSERT_EQ(refusal([&] { open(cut); }), MessageId::kDamagedJournal) << length;
  }
  for (const size_t more : {size_t{1}, size_t{512}, kPlanPageSize}) {
    FileBytes longer = copying_;
    longer.resize(longer.size() + more);
    EXPECT_EQ(refusal([&] { open(longer); }), MessageId::kDamagedJournal) << more;
  }
}

TEST_F(DamagedJournalTest, ATailOfZeroesIsRefusedOrCostsNoMoreThanProgress) {
  unsigned opened = 0;
  for (size_t length = 0; length < copying_.size(); length += 512) {
    FileBytes zeroed = copying_;
    std::fill(zeroed.begin() + static_cast<ptrdiff_t>(length), zeroed.end(), std::byte{0});
    ASSERT_EQ(open_unless_damaged(zeroed), nullptr) << length;
    std::copy(copying_.begin() + kPlacesOffset, copying_.end(), zeroed.begin() + kPlacesOffset);
    const auto journal = open_unless_damaged(zeroed);
    ASSERT_EQ(journal != nullptr, length >= kHeaderSize) << length;
    if (!journal) continue;
    ++opened;
    ASSERT_EQ(on_disk(journal->record()), on_disk(record_));
    ASSERT_LE(position_of(*journal), Bytes(11000));
  }
  EXPECT_GT(opened, 0u);
}

TEST_F(DamagedJournalTest, AnyFlippedByteOfAHeaderCopyChangesNothing) {
  for (size_t at = 0; at < kSlotsOffset; at += kShortStride) {
    for (const int mask : kMasks) {
      copying_[at] ^= std::byte(mask);
      const auto journal = open(copying_, false);
      ASSERT_EQ(journal->state(), JournalState::kCopying);
      ASSERT_EQ(on_disk(journal->record()), on_disk(record_)) << at;
      ASSERT_EQ(position_of(*journal), Bytes(11000)) << at;
      copying_[at] ^= std::byte(mask);

      done_[at] ^= std::byte(mask);
      const auto done = open(done_, false);
      ASSERT_EQ(done->state(), JournalState::kDone) << at;
      ASSERT_EQ(done->fingerprint(), 77u);
      ASSERT_EQ(on_disk(done->record()), on_disk(record_)) << at;
      done_[at] ^= std::byte(mask);
    }
  }
}

TEST_F(DamagedJournalTest, WithBothHeaderCopiesDamagedNothingIsBelieved) {
  for (const size_t first : {0u, 8u, 12u, 16u, 24u, 192u, 16383u}) {
    for (const size_t second : {0u, 8u, 12u, 16u, 24u, 192u, 16383u}) {
      FileBytes bytes = done_;
      bytes[first] ^= std::byte{4};
      bytes[kHeaderSize + second] ^= std::byte{4};
      EXPECT_EQ(refusal([&] { open(bytes); }), MessageId::kDamagedJournal);
    }
  }
}

TEST_F(DamagedJournalTest, AnyFlippedByteOfASlotLosesAtMostThatPosition) {
  // Position 11000 is the 19th sequence number, counted from 0: slot 2.
  const size_t newest = kSlotsOffset + 2 * kSlotDistance;
  for (size_t at = kSlotsOffset; at < kPlacesOffset; at += kShortStride) {
    for (const int mask : kMasks) {
      copying_[at] ^= std::byte(mask);
      const auto journal = open(copying_, false);
      const bool hit = at >= newest && at < newest + kSlotSize;
      ASSERT_EQ(position_of(*journal), Bytes(hit ? 10000 : 11000)) << at;
      ASSERT_EQ(journal->state(), JournalState::kCopying);
      copying_[at] ^= std::byte(mask);
    }
  }
}

TEST_F(DamagedJournalTest, AnyFlippedByteOfThePageOfPlacesIsDamage) {
  for (size_t at = kPlacesOffset; at < kPlanOffset; at += kShortStride) {
    for (const int mask : kMasks) {
      copying_[at] ^= std::byte(mask);
      ASSERT_EQ(refusal([&] { open(copying_); }), MessageId::kDamagedJournal) << at;
      copying_[at] ^= std::byte(mask);
    }
  }
}

TEST_F(DamagedJournalTest, ATornSlotLosesTimeNotCorrectness) {
  auto journal = open(copying_);
  const FileBytes before = files_->file(kTestName);
  journal->record_progress(progress_at(12000));
  const FileBytes after = files_->file(kTestName);
  const auto [changed, ignored] = std::mismatch(before.begin(), before.end(), after.begin());
  const ptrdiff_t first = (changed - before.begin()) / 512 * 512;
  for (ptrdiff_t length = 0; length <= 512; ++length) {
    FileBytes torn = before;
    std::copy_n(after.begin() + first, length, torn.begin() + first);
    journal = open(torn);
    ASSERT_EQ(position_of(*journal), Bytes(length == 512 ? 12000 : 11000)) << length;
    journal->record_progress(progress_at(13000));
    ASSERT_EQ(position_of(*Journal::open(*files_, kTestName, false)), Bytes(13000));
  }
}

TEST_F(DamagedJournalTest, WithoutAnySlotTheCopyBeginsAnewAndCanGoOn) {
  for (size_t i = 0; i < kSlots; ++i) slot(copying_, i)[9] ^= std::byte{1};
  auto journal = open(copying_);
  EXPECT_EQ(journal->state(), JournalState::kCopying);
  EXPECT_EQ(position_of(*journal), Bytes(0));
  journal->record_progress(progress_at(5));
  EXPECT_EQ(position_of(*Journal::open(*files_, kTestName, false)), Bytes(5));

  for (size_t i = 0; i < kSlots; ++i) slot(done_, i)[9] ^= std::byte{1};
  journal = open(done_);
  EXPECT_EQ(journal->state(), JournalState::kDone);
  EXPECT_EQ(position_of(*journal), record_.copy_bytes);
}

TEST_F(DamagedJournalTest, AnyFlippedByteOfThePlanIsRefused) {
  PlanPage decoded;
  for (size_t at = kPlanOffset; at < copying_.size(); at += kShortStride) {
    const size_t index = (at - kPlanOffset) / kPlanPageSize;
    for (const int mask : kMasks) {
      copying_[at] ^= std::byte(mask);
      ASSERT_FALSE(decode_plan_page(page(copying_, index), kMergeFormatVersion, nonce_, index,
                                    record_.limits(), decoded))
          << at;
      if (at % 8 == 0) {
        ASSERT_EQ(refusal([&] { open(copying_); }), MessageId::kDamagedJournal) << at;
      }
      copying_[at] ^= std::byte(mask);
    }
    ASSERT_TRUE(decode_plan_page(page(copying_, index), kMergeFormatVersion, nonce_, index,
                                 record_.limits(), decoded));
  }
  EXPECT_NE(open(copying_), nullptr);
}

TEST_F(DamagedJournalTest, DamageInThePlanThatWasNotLookedForIsMetWhenItIsRead) {
  page(copying_, 1)[100] ^= std::byte{1};
  const auto journal = open(copying_, false);
  EXPECT_EQ(position_of(*journal), Bytes(11000));
  Bytes skip;
  EXPECT_EQ(refusal([&] { drain(*journal->runs_from(Bytes(0), skip)); }),
            MessageId::kDamagedJournal);
  EXPECT_EQ(refusal([&] { journal->extent_at(record_.copy_bytes - Bytes(1)); }),
            MessageId::kDamagedJournal);
}

TEST_F(DamagedJournalTest, OneHeaderCopyThatSaysDoneIsEnough) {
  for (const size_t stale : {0u, 1u}) {
    FileBytes bytes = done_;
    std::ranges::copy(header_copy(copying_, stale), header_copy(bytes, stale).begin());
    const auto journal = open(bytes);
    EXPECT_EQ(journal->state(), JournalState::kDone);
    EXPECT_EQ(position_of(*journal), record_.copy_bytes);
  }
}

TEST_F(DamagedJournalTest, DoneIsRecordedOverADamagedCopyFirst) {
  for (const size_t damaged : {0u, 1u}) {
    FileBytes bytes = copying_;
    header_copy(bytes, damaged)[100] ^= std::byte{1};
    auto journal = open(bytes);
    journal->record_progress({record_.copy_bytes, {}});
    const size_t from = world_->history().size();
    journal->record_done(3);
    EXPECT_EQ(world_->history()[from].offset, Bytes(damaged * kHeaderSize));
    const FileBytes finished = files_->file(kTestName);
    for (const size_t lost : {0u, 1u}) {
      FileBytes after = finished;
      header_copy(after, lost)[100] ^= std::byte{1};
      EXPECT_EQ(open(after)->state(), JournalState::kDone);
    }
  }
}

// A kill between the two copies leaves one in the state copying or done.
TEST_F(DamagedJournalTest, AnUndoThatIsContinuedIsRecordedInBothCopies) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  MergeRecord record = record_;
  record.undo_log = "/srv/undo";
  auto begun = Journal::begin(directory, kTestName, record);
  ListedRuns source(runs_);
  begun->publish(source);
  JournalProgress reached = progress_at(11000);
  reached.undo_log_bytes = Bytes(8192);
  begun->record_progress(reached);
  const FileBytes before = directory.file(kTestName);
  begun->record_undoing();
  const FileBytes undoing = directory.file(kTestName);
  for (const size_t stale : {0u, 1u}) {
    FileBytes bytes = undoing;
    std::ranges::copy(std::span(before).subspan(stale * kHeaderSize, kHeaderSize),
                      header_copy(bytes, stale).begin());
    const auto journal = open(bytes);
    ASSERT_EQ(journal->state(), JournalState::kUndoing);
    journal->record_undoing();
    const FileBytes again = files_->file(kTestName);
    for (const size_t lost : {0u, 1u}) {
      FileBytes after = again;
      header_copy(after, lost)[100] ^= std::byte{1};
      EXPECT_EQ(open(after)->state(), JournalState::kUndoing);
      const auto left = decode_header(header_copy(after, 1 - lost), "");
      EXPECT_EQ(left->undo_log_bytes, Bytes(8192));
    }
  }
}

TEST_F(DamagedJournalTest, WhatWasNeverAJournalIsRefused) {
  EXPECT_EQ(open_unless_damaged({}), nullptr);
  EXPECT_EQ(open_unless_damaged(FileBytes(copying_.size())), nullptr);
  EXPECT_EQ(open_unless_damaged(FileBytes(copying_.size(), std::byte{0xff})), nullptr);
  Journal::begin(directory_, kTestName, record_);
  FileBytes begun = directory_.file(unpublished_name(kTestName));
  EXPECT_EQ(open_unless_damaged(begun), nullptr);
  Journal::begin(directory_, kTestName, record_for({}));
  begun = directory_.file(unpublished_name(kTestName));
  begun.resize(kPlanOffset);
  EXPECT_EQ(open_unless_damaged(begun), nullptr);
}

}  // namespace
}  // namespace extmerge
