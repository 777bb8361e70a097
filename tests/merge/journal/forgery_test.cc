// SPDX-License-Identifier: GPL-3.0-or-later
//
// Impossible parts with a right checksum: of another journal, of another version, in another place,
// or with values that no merge has.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/merge/journal/damage_fixture.h"

namespace extmerge {
namespace {

using JournalForgeryTest = DamagedJournalTest;

TEST_F(JournalForgeryTest, ProgressThatCannotBeIsRefused) {
  const auto with_slot = [&](size_t place, uint64_t sequence, Bytes position) {
    FileBytes bytes = copying_;
    std::ranges::copy(encode_slot(nonce_, {sequence, {position, {}}}), slot(bytes, place).begin());
    return bytes;
  };
  EXPECT_EQ(position_of(*open(with_slot(3, 19, record_.copy_bytes))), record_.copy_bytes);
  const Bytes past_the_end = record_.copy_bytes + Bytes(1);
  EXPECT_EQ(open_unless_damaged(with_slot(3, 19, past_the_end)), nullptr);
  EXPECT_EQ(open_unless_damaged(with_slot(3, 11, past_the_end)), nullptr);
  // A slot in another slot's place does not count.
  EXPECT_EQ(position_of(*open(with_slot(3, 20, record_.copy_bytes))), Bytes(11000));
}

TEST_F(JournalForgeryTest, AnOlderSlotThatClaimsMoreNeverCountsAndIsOverwritten) {
  FileBytes bytes = copying_;
  std::ranges::copy(encode_slot(nonce_, {19, {Bytes(500), {}}}), slot(bytes, 3).begin());
  const auto journal = open(bytes);
  EXPECT_EQ(position_of(*journal), Bytes(500));
  journal->record_progress(progress_at(600));
  EXPECT_EQ(highest_claim(files_->file(kTestName)), Bytes(600));
}

TEST_F(JournalForgeryTest, ASlotOfAnotherJournalIsNone) {
  FileBytes bytes = copying_;
  std::ranges::copy(encode_slot(nonce_ + 1, {19, {record_.copy_bytes, {}}}),
                    slot(bytes, 3).begin());
  EXPECT_EQ(position_of(*open(bytes)), Bytes(11000));
}

TEST_F(JournalForgeryTest, SwappedRepeatedAndForeignPagesAreRefused) {
  FileBytes swapped = copying_;
  std::ranges::swap_ranges(page(swapped, 0), page(swapped, 1));
  EXPECT_EQ(open_unless_damaged(swapped), nullptr);
  FileBytes repeated = copying_;
  std::ranges::copy(page(copying_, 0), page(repeated, 1).begin());
  EXPECT_EQ(open_unless_damaged(repeated), nullptr);
  publish_journal(directory_, runs_);
  FileBytes foreign = directory_.file(kTestName);
  std::ranges::copy(page(copying_, 1), page(foreign, 1).begin());
  EXPECT_EQ(open_unless_damaged(foreign), nullptr);
}

TEST_F(JournalForgeryTest, SealedPagesThatDoNotFollowOneAnotherAreRefused) {
  const Runs runs = scattered_runs(1500);
  publish_journal(directory_, runs);
  const FileBytes good = directory_.file(kTestName);
  ASSERT_GE(good.size(), kPlanOffset + 3 * kPlanPageSize);
  FileBytes misplaced = good;
  page(misplaced, 1)[offsetof(DiskPlanPage, position) + 2] ^= std::byte{1};
  seal_part(page(misplaced, 1));
  EXPECT_EQ(open_unless_damaged(misplaced), nullptr);

  // The first run of the second page begins at 0, which is valid in a page by itself.
  FileBytes overlapping = good;
  page(overlapping, 1)[sizeof(DiskPlanPage)] = std::byte{0x80};
  page(overlapping, 1)[sizeof(DiskPlanPage) + 1] = std::byte{0};
  seal_part(page(overlapping, 1));
  EXPECT_EQ(open_unless_damaged(overlapping), nullptr);
  const auto journal = open(overlapping, false);
  Bytes skip;
  EXPECT_EQ(refusal([&] { drain(*journal->runs_from(Bytes(0), skip)); }),
            MessageId::kDamagedJournal);
}

TEST_F(JournalForgeryTest, APlanThatIsIntactButNotTheRecordedOneIsRefused) {
  const std::vector<void (*)(DiskJournalHeader&)> changes = {
      [](DiskJournalHeader& h) { h.digest[5] ^= 1; },
      [](DiskJournalHeader& h) { h.runs.set(h.runs.get() - 1); },
      [](DiskJournalHeader& h) { h.copy_bytes.set(h.copy_bytes.get() - 1); },
      [](DiskJournalHeader& h) { h.copy_bytes.set(h.copy_bytes.get() + 1); },
      [](DiskJournalHeader& h) { h.plan_end.set(h.plan_end.get() - 1); },
      [](DiskJournalHeader& h) { h.plan_pages.set(1); },
      [](DiskJournalHeader& h) { h.plan_pages.set(3); },
      [](DiskJournalHeader& h) { h.plan_pages.set(uint64_t{1} << 52); },
      [](DiskJournalHeader& h) { h.nonce.set(h.nonce.get() + 1); },
  };
  for (size_t i = 0; i < changes.size(); ++i)
    EXPECT_EQ(open_unless_damaged(with_headers(copying_, changes[i])), nullptr) << i;
}

TEST_F(JournalForgeryTest, SealedHeadersThatCannotBeAreRefused) {
  const std::vector<void (*)(DiskJournalHeader&)> changes = {
      [](DiskJournalHeader& h) { h.state.set(0); },
      [](DiskJournalHeader& h) { h.state.set(1); },
      [](DiskJournalHeader& h) { h.state.set(4); },
      [](DiskJournalHeader& h) { h.thin_id.set(1 << 24); },
      [](DiskJournalHeader& h) { h.block_size.set(0); },
      [](DiskJournalHeader& h) { h.plan_pages.set(0); },
      [](DiskJournalHeader& h) { h.fingerprint.set(1); },
      [](DiskJournalHeader& h) { h.undo_log_bytes.set(1); },
      [](DiskJournalHeader& h) { h.sequence.set(5); },
  };
  for (size_t i = 0; i < changes.size(); ++i)
    EXPECT_EQ(open_unless_damaged(with_headers(copying_, changes[i])), nullptr) << i;
}

TEST_F(JournalForgeryTest, SealedNamesThatAreTooLongOrHoldAZeroAreRefused) {
  // The path of the metadata device, and six empty strings.
  const auto with_path = [&](size_t length, char letter) {
    FileBytes bytes = copying_;
    for (size_t copy = 0; copy < kHeaderCopies; ++copy) {
      const le16 disk_length(static_cast<uint16_t>(length));
      const auto part = header_copy(bytes, copy);
      const auto names = part.subspan(sizeof(DiskJournalHeader) + sizeof(DiskRound));
      std::ranges::fill(names, std::byte{0});
      std::memcpy(names.data(), &disk_length, sizeof disk_length);
      std::ranges::fill(names.subspan(sizeof disk_length, std::min<size_t>(length, 9000)),
                        std::byte(letter));
      seal_part(part);
    }
    return bytes;
  };
  EXPECT_EQ(open(with_path(kMaxPath, 'x'))->record().metadata.path, std::string(kMaxPath, 'x'));
  EXPECT_EQ(open_unless_damaged(with_path(kMaxPath + 1, 'x')), nullptr);
  EXPECT_EQ(open_unless_damaged(with_path(0xffff, 'x')), nullptr);
  EXPECT_EQ(open_unless_damaged(with_path(5, '\0')), nullptr);
}

TEST_F(JournalForgeryTest, CopiesOfTheHeaderMustTellTheSameStory) {
  FileBytes other_journal = copying_;
  std::ranges::copy(header_copy(done_, 0), header_copy(other_journal, 0).begin());
  EXPECT_EQ(open(other_journal)->state(), JournalState::kDone);

  publish_journal(directory_, runs_);
  FileBytes younger = directory_.file(kTestName);
  std::ranges::copy(header_copy(younger, 0), header_copy(other_journal, 0).begin());
  EXPECT_EQ(open_unless_damaged(other_journal), nullptr);

  FileBytes repeated = copying_;
  std::ranges::copy(header_copy(copying_, 0), header_copy(repeated, 1).begin());
  EXPECT_EQ(open_unless_damaged(repeated), nullptr);

  for (const size_t field :
       {offsetof(DiskJournalHeader, thin_id), offsetof(DiskJournalHeader, mapping_root),
        sizeof(DiskJournalHeader) + 3}) {
    FileBytes contradictory = copying_;
    header_copy(contradictory, 1)[field] ^= std::byte{1};
    seal_part(header_copy(contradictory, 1));
    EXPECT_EQ(open_unless_damaged(contradictory), nullptr) << field;
  }
}

TEST_F(JournalForgeryTest, AHigherSequenceThatIsLessDoneIsRefused) {
  FileBytes bytes = done_;
  auto copy = header_copy(bytes, 1);
  std::ranges::copy(header_copy(copying_, 1), copy.begin());
  DiskJournalHeader disk;
  std::memcpy(&disk, copy.data(), sizeof disk);
  disk.sequence.set(9);
  std::memcpy(copy.data(), &disk, sizeof disk);
  seal_part(copy);
  EXPECT_EQ(open_unless_damaged(bytes), nullptr);
}

TEST_F(JournalForgeryTest, AnotherVersionIsRefusedAsThatAndAnotherByteOrderAsDamage) {
  const auto to_version_4 = [](DiskJournalHeader& h) { h.version.set(4); };
  EXPECT_EQ(refusal([&] { open(with_headers(copying_, to_version_4)); }),
            MessageId::kJournalVersion);
  FileBytes one_copy = copying_;
  FileBytes newer = with_headers(copying_, to_version_4);
  std::ranges::copy(header_copy(newer, 1), header_copy(one_copy, 1).begin());
  EXPECT_EQ(refusal([&] { open(one_copy); }), MessageId::kJournalVersion);
  // A later version may change the rest of the file.
  newer.resize(kSlotsOffset);
  EXPECT_EQ(refusal([&] { open(newer); }), MessageId::kJournalVersion);

  FileBytes big_endian = copying_;
  for (size_t copy = 0; copy < kHeaderCopies; ++copy) {
    const auto part = header_copy(big_endian, copy);
    for (size_t at = 8; at < sizeof(DiskJournalHeader); at += 8)
      std::reverse(part.begin() + static_cast<ptrdiff_t>(at),
                   part.begin() + static_cast<ptrdiff_t>(at + 8));
    std::reverse(part.end() - 4, part.end());
  }
  EXPECT_EQ(open_unless_damaged(big_endian), nullptr);
}

}  // namespace
}  // namespace extmerge
