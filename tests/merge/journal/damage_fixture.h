// SPDX-License-Identifier: GPL-3.0-or-later
//
// Two valid journals of the same merge, which tests damage and open.

#pragma once

#include <functional>

#include "merge/journal/format.h"
#include "tests/merge/journal/journal_fixture.h"

namespace extmerge {

class DamagedJournalTest : public testing::Test {
 protected:
  DamagedJournalTest() {
    auto journal = publish_journal(directory_, runs_);
    for (uint64_t i = 1; i <= 11; ++i) journal->record_progress(progress_at(i * 1000));
    copying_ = directory_.file(kTestName);
    journal->record_progress({record_.copy_bytes, {}});
    journal->record_done(77);
    done_ = directory_.file(kTestName);
    const auto header = decode_header(std::span(copying_).first(kHeaderSize), "");
    nonce_ = header->nonce;
  }

  std::unique_ptr<Journal> open(FileBytes bytes, bool pages = true) {
    // Use a new world: a world keeps the history of its operations.
    world_ = std::make_unique<SimulatedWorld>();
    files_ = std::make_unique<SimulatedDirectory>(*world_);
    files_->put_file(kTestName, std::move(bytes));
    return Journal::open(*files_, kTestName, true, pages);
  }

  // Null if the journal is refused as damaged.
  std::unique_ptr<Journal> open_unless_damaged(const FileBytes& bytes) {
    std::unique_ptr<Journal> journal;
    const auto id = refusal([&] { journal = open(bytes); });
    EXPECT_EQ(id.value_or(MessageId::kDamagedJournal), MessageId::kDamagedJournal);
    return journal;
  }

  std::span<std::byte> header_copy(FileBytes& bytes, size_t copy) const {
    return std::span(bytes).subspan(copy * kHeaderSize, kHeaderSize);
  }
  std::span<std::byte> slot(FileBytes& bytes, size_t index) const {
    return std::span(bytes).subspan(kSlotsOffset + index * kSlotDistance, kSlotSize);
  }
  std::span<std::byte> page(FileBytes& bytes, size_t index) const {
    return std::span(bytes).subspan(kPlanOffset + index * kPlanPageSize, kPlanPageSize);
  }
  // Changes both header copies like a forger who corrects the checksums.
  FileBytes with_headers(const FileBytes& bytes,
                         const std::function<void(DiskJournalHeader&)>& change) const {
    FileBytes changed = bytes;
    for (size_t copy = 0; copy < kHeaderCopies; ++copy) {
      const auto part = std::span(changed).subspan(copy * kHeaderSize, kHeaderSize);
      DiskJournalHeader disk;
      std::memcpy(&disk, part.data(), sizeof disk);
      change(disk);
      std::memcpy(part.data(), &disk, sizeof disk);
      seal_part(part);
    }
    return changed;
  }

  SimulatedWorld first_world_;
  SimulatedDirectory directory_{first_world_};
  const Runs runs_ = scattered_runs(900);
  const MergeRecord record_ = record_for(runs_);
  FileBytes copying_;  // at position 11000
  FileBytes done_;
  uint64_t nonce_ = 0;
  std::unique_ptr<SimulatedWorld> world_;
  std::unique_ptr<SimulatedDirectory> files_;
};

}  // namespace extmerge
