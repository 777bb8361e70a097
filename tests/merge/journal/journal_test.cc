// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal without faults, except those of the caller.

#include <gtest/gtest.h>

#include <algorithm>

#include "merge/journal/format.h"
#include "tests/merge/journal/journal_fixture.h"

namespace extmerge {
namespace {

class JournalTest : public testing::Test {
 protected:
  // The file operations since `from` that change or sync something.
  std::vector<Operation> writes_since(uint64_t from) const {
    std::vector<Operation> found = world_.history();
    found.erase(found.begin(), found.begin() + static_cast<ptrdiff_t>(from));
    std::erase_if(found, [](const Operation& o) { return o.kind == OperationKind::kFileRead; });
    return found;
  }

  SimulatedWorld world_;
  SimulatedDirectory directory_{world_};
  const Runs runs_ = scattered_runs(40);
  const MergeRecord record_ = record_for(runs_);
};

TEST_F(JournalTest, WhereThereIsNoneOpenReturnsNothing) {
  EXPECT_EQ(Journal::open(directory_, kTestName, true), nullptr);
}

TEST_F(JournalTest, APublishedJournalOpensWithAllThatItRecorded) {
  publish_journal(directory_, runs_);
  EXPECT_FALSE(directory_.has_file(unpublished_name(kTestName)));
  const auto journal = Journal::open(directory_, kTestName, false);
  ASSERT_NE(journal, nullptr);
  EXPECT_EQ(journal->path(), "/state/origin.journal");
  EXPECT_EQ(journal->state(), JournalState::kCopying);
  EXPECT_EQ(position_of(*journal), Bytes(0));
  EXPECT_EQ(on_disk(journal->record()), on_disk(record_));
  Bytes skip(1);
  EXPECT_EQ(drain(*journal->runs_from(Bytes(0), skip)), runs_);
  EXPECT_EQ(skip, Bytes(0));
}

TEST_F(JournalTest, EveryFieldOfTheRecordReachesTheDisk) {
  const std::vector<void (*)(MergeRecord&)> changes = {
      [](MergeRecord& r) { r.metadata.path = "/m"; },
      [](MergeRecord& r) { r.metadata.identity = "m"; },
      [](MergeRecord& r) { r.data.path = "/d"; },
      [](MergeRecord& r) { r.data.identity = "d"; },
      [](MergeRecord& r) { r.origin.path = "/o"; },
      [](MergeRecord& r) { r.origin.identity = ""; },
      [](MergeRecord& r) { r.undo_log = "/srv/undo"; },
      [](MergeRecord& r) { r.thin_id = ThinId{kMaxThinId}; },
      [](MergeRecord& r) { r.creation_time = 0xffffffff; },
      [](MergeRecord& r) { r.transaction_id = ~uint64_t{0}; },
      [](MergeRecord& r) { r.root_choice = RootChoice::kLive; },
      [](MergeRecord& r) { r.root_block = MetadataBlock(5); },
      [](MergeRecord& r) { r.mapping_root = MetadataBlock(6); },
      [](MergeRecord& r) { r.logical_block_size = Bytes(4096); },
      [](MergeRecord& r) { r.thin_size.reset(); },
      [](MergeRecord& r) { r.thin_size = *r.thin_size + Bytes(512); },
      [](MergeRecord& r) { r.beyond_origin = BeyondOriginChoice::kDrop; },
      [](MergeRecord& r) {
        r.beyond_origin = BeyondOriginChoice::kExtend;
        r.origin_size_before = Bytes(512);
      },
      [](MergeRecord& r) { r.origin_size_after = r.origin_size_before = r.plan_end; },
      [](MergeRecord& r) { ++r.mapped_blocks; },
      [](MergeRecord& r) { r.created_at = 5; },
  };
  std::vector<FileBytes> seen = {on_disk(record_)};
  for (const auto change : changes) {
    MergeRecord record = record_;
    change(record);
    ListedRuns source(runs_);
    Journal::begin(directory_, kTestName, record)->publish(source);
    const auto journal = Journal::open(directory_, kTestName, false);
    EXPECT_EQ(on_disk(journal->record()), on_disk(record)) << "change " << seen.size() - 1;
    EXPECT_EQ(journal->record().thin_size, record.thin_size);
    EXPECT_EQ(std::ranges::count(seen, on_disk(record)), 0) << "change " << seen.size() - 1;
    seen.push_back(on_disk(record));
  }
}

TEST_F(JournalTest, IsPublishedOnce) {
  auto journal = publish_journal(directory_, runs_);
  ListedRuns source(runs_);
  EXPECT_EQ(refusal([&] { journal->publish(source); }), MessageId::kInternal);
  journal = Journal::open(directory_, kTestName, true);
  EXPECT_EQ(refusal([&] { journal->publish(source); }), MessageId::kInternal);
  EXPECT_NE(Journal::open(directory_, kTestName, true), nullptr);
}

TEST_F(JournalTest, AnEmptyPlanIsAJournalToo) {
  auto journal = publish_journal(directory_, {});
  journal->record_progress({});
  journal->record_done(5);
  const auto again = Journal::open(directory_, kTestName, false);
  EXPECT_EQ(again->state(), JournalState::kDone);
  Bytes skip;
  EXPECT_EQ(drain(*again->runs_from(Bytes(0), skip)), Runs());
}

TEST_F(JournalTest, WhatWasOnlyBegunIsNoJournalAndCanBeDiscarded) {
  auto journal = Journal::begin(directory_, kTestName, record_);
  EXPECT_EQ(journal->state(), JournalState::kIntent);
  journal.reset();
  EXPECT_EQ(Journal::open(directory_, kTestName, true), nullptr);
  EXPECT_TRUE(directory_.has_file(unpublished_name(kTestName)));
  Journal::discard_unpublished(directory_, kTestName);
  EXPECT_FALSE(directory_.has_file(unpublished_name(kTestName)));
  Journal::discard_unpublished(directory_, kTestName);
}

// A power cut may leave neither old nor new bytes in the written sector.
TEST_F(JournalTest, WhatWasBegunIsKnownForOursWhicheverSectorIsTorn) {
  Journal::begin(directory_, kTestName, record_);
  const std::string name = unpublished_name(kTestName);
  const FileBytes begun = directory_.file(name);
  for (size_t sector = 0; sector < begun.size(); sector += 4096) {
    FileBytes torn = begun;
    std::fill_n(torn.begin() + static_cast<ptrdiff_t>(sector), 4096, std::byte{0x5a});
    directory_.put_file(name, torn);
    Journal::discard_unpublished(directory_, kTestName);
    EXPECT_FALSE(directory_.has_file(name));
  }
}

TEST_F(JournalTest, WhatIsCutOffBeforeItHasAMarkIsInNobodysWay) {
  for (uint64_t cut = 0;; ++cut) {
    world_.restart(Survivors::kNone, 1);
    world_.cut_power_at(cut);
    try {
      Journal::begin(directory_, kTestName, record_, cut);
      break;
    } catch (const Error&) {
    }
    world_.restart(Survivors::kGarbage, cut);
    EXPECT_TRUE(Journal::is_ours(directory_, unpublished_name(kTestName))) << cut;
  }
}

// After a kill before the sync, or a failed sync, the page cache has data that is not on the disk.
TEST_F(JournalTest, WhatIsOpenedToBeActedOnIsDurable) {
  auto journal = publish_journal(directory_, runs_);
  journal->record_progress({record_.copy_bytes, {}});
  world_.fail_at(world_.operations() + 1, {.error_number = EIO});  // the sync of the header
  EXPECT_EQ(refusal([&] { journal->record_done(5); }), MessageId::kJournalIo);
  EXPECT_EQ(Journal::open(directory_, kTestName, false)->state(), JournalState::kDone)
      << "the page cache has it";
  const JournalState seen = Journal::open(directory_, kTestName, true)->state();
  world_.restart(Survivors::kNone, 1);
  EXPECT_EQ(Journal::open(directory_, kTestName, false)->state(), seen);
}

TEST_F(JournalTest, ItsNameIsDurableOnceItIsOpenedToBeActedOn) {
  unsigned seen = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    world_.restart(Survivors::kNone, seed);
    directory_.remove(kTestName);
    auto journal = Journal::begin(directory_, kTestName, record_);
    world_.on_operation([&](const Operation& operation) {
      if (operation.kind == OperationKind::kDirectory && operation.object.ends_with(".new"))
        world_.fail_at(world_.operations(),
                       {.error_number = EIO});  // perhaps visible, but not durable
    });
    ListedRuns source(runs_);
    EXPECT_EQ(refusal([&] { journal->publish(source); }), MessageId::kJournalIo);
    world_.on_operation({});
    if (!Journal::open(directory_, kTestName, true)) continue;
    ++seen;
    world_.restart(Survivors::kNone, 1);
    EXPECT_NE(Journal::open(directory_, kTestName, false), nullptr);
  }
  EXPECT_GT(seen, 3u);
}

TEST_F(JournalTest, ANonceThatIsGivenIsTheJournals) {
  constexpr uint64_t kChosenNonce = 0x0badcafe12345678;
  Journal::begin(directory_, kTestName, record_, kChosenNonce);
  const FileBytes begun = directory_.file(unpublished_name(kTestName));
  const auto header = decode_header(std::span(begun).first(kHeaderSize), "");
  ASSERT_TRUE(header);
  EXPECT_EQ(header->nonce, kChosenNonce);
}

TEST_F(JournalTest, AnIntentIsDurableWhenBeginReturns) {
  Journal::begin(directory_, kTestName, record_);
  world_.restart(Survivors::kNone, 1);
  const FileBytes begun = directory_.file(unpublished_name(kTestName));
  const auto header = decode_header(std::span(begun).first(kHeaderSize), "");
  ASSERT_TRUE(header);
  EXPECT_EQ(header->state, JournalState::kIntent);
}

TEST_F(JournalTest, AnotherPlanThanTheRecordedOneIsStaleAndLeavesTheOldJournal) {
  publish_journal(directory_, runs_);
  const FileBytes before = directory_.file(kTestName);
  std::vector<Runs> others(4, runs_);
  others[0].pop_back();
  others[1].erase(others[1].begin());
  others[2][5].data = others[2][5].data + 1;
  others[3].clear();
  for (const auto& other : others) {
    auto journal = Journal::begin(directory_, kTestName, record_);
    ListedRuns source(other);
    EXPECT_EQ(refusal([&] { journal->publish(source); }), MessageId::kStale);
    EXPECT_FALSE(directory_.has_file(unpublished_name(kTestName)));
    EXPECT_EQ(directory_.file(kTestName), before);
  }
}

TEST_F(JournalTest, RunsThatNoPlanCanHaveAreRefused) {
  const uint64_t end = record_.block_size.blocks_holding(record_.plan_end);
  const std::vector<Runs> wrong = {
      {make_run(5, 1, 0)},
      {make_run(5, 1, 2), make_run(6, 9, 1)},
      {make_run(5, 1, 2), make_run(4, 9, 1)},
      {make_run(end, 1, 1)},
      {make_run(end - 1, 1, 2)},
      {make_run(5, uint64_t{1} << 40, 1)},
      {make_run(5, (uint64_t{1} << 40) - 1, 2)},
      {make_run(5, 1, ~uint64_t{0})},
  };
  for (size_t i = 0; i < wrong.size(); ++i) {
    auto journal = Journal::begin(directory_, kTestName, record_);
    ListedRuns source(wrong[i]);
    EXPECT_EQ(refusal([&] { journal->publish(source); }), MessageId::kInternal) << i;
    EXPECT_FALSE(directory_.has_file(unpublished_name(kTestName)));
  }
}

TEST_F(JournalTest, APlanThatCannotBeReadLeavesNothingBehind) {
  struct FailingRuns : RunSource {
    bool next(extmerge::Run&) override {
      throw Error(MessageId::kMetadataDamaged, "torn", "mend it");
    }
  } source;
  auto journal = Journal::begin(directory_, kTestName, record_);
  EXPECT_EQ(refusal([&] { journal->publish(source); }), MessageId::kMetadataDamaged);
  EXPECT_FALSE(directory_.has_file(unpublished_name(kTestName)));
  EXPECT_FALSE(directory_.has_file(kTestName));
}

TEST_F(JournalTest, AFullDiskLeavesNothingBehind) {
  auto journal = Journal::begin(directory_, kTestName, record_);
  world_.fail_at(world_.operations(), {Fault::Kind::kShort, ENOSPC, false});
  ListedRuns source(runs_);
  EXPECT_EQ(refusal([&] { journal->publish(source); }), MessageId::kNoSpace);
  EXPECT_FALSE(directory_.has_file(unpublished_name(kTestName)));
  EXPECT_FALSE(directory_.has_file(kTestName));
}

TEST_F(JournalTest, NamesOfTheGreatestLengthFitAndLongerOnesAreRefusedNotCut) {
  MergeRecord record = record_;
  for (JournalDevice* device : {&record.metadata, &record.data, &record.origin})
    *device = {"/" + std::string(kMaxPath - 1, 'p'), std::string(kMaxIdentity, 'i')};
  ListedRuns source(runs_);
  Journal::begin(directory_, kTestName, record)->publish(source);
  EXPECT_EQ(on_disk(Journal::open(directory_, kTestName, false)->record()), on_disk(record));

  for (JournalDevice MergeRecord::*device :
       {&MergeRecord::metadata, &MergeRecord::data, &MergeRecord::origin}) {
    for (std::string JournalDevice::*name : {&JournalDevice::path, &JournalDevice::identity}) {
      MergeRecord longer = record;
      longer.*device.*name += "x";
      EXPECT_EQ(refusal([&] { Journal::begin(directory_, kTestName, longer); }), MessageId::kUsage);
      EXPECT_FALSE(directory_.has_file(unpublished_name(kTestName)));
    }
  }
}

TEST_F(JournalTest, ProgressIsOneSectorAndOneSyncInSlotsUsedInTurn) {
  auto journal = publish_journal(directory_, runs_);
  const size_t size = directory_.file(kTestName).size();
  for (uint64_t i = 0; i < 3 * kSlots; ++i) {
    const uint64_t from = world_.operations();
    journal->record_progress(progress_at(512 * (i + 1)));
    EXPECT_EQ(position_of(*journal), Bytes(512 * (i + 1)));
    const auto writes = writes_since(from);
    ASSERT_EQ(writes.size(), 2u);
    EXPECT_EQ(writes[0].kind, OperationKind::kFileWrite);
    EXPECT_EQ(writes[0].offset, Bytes(32768 + i % 8 * 4096));
    EXPECT_EQ(writes[0].length, Bytes(512));
    EXPECT_EQ(writes[1].kind, OperationKind::kFileSync);

    const auto again = Journal::open(directory_, kTestName, false);
    EXPECT_EQ(position_of(*again), Bytes(512 * (i + 1)));
    EXPECT_EQ(again->progress().counters.bytes_read, Bytes(512 * (i + 1) + 1));
    EXPECT_EQ(again->progress().counters.bytes_compared_equal, Bytes(512 * (i + 1) / 3));
    EXPECT_EQ(again->progress().counters.bytes_written, Bytes(512 * (i + 1) / 2));
  }
  journal->record_progress({record_.copy_bytes, {}});
  journal->record_done(1);
  EXPECT_EQ(directory_.file(kTestName).size(), size);
}

TEST_F(JournalTest, AResumedJournalGoesOnInTheNextSlot) {
  publish_journal(directory_, runs_)->record_progress(progress_at(512));
  const auto journal = Journal::open(directory_, kTestName, true);
  const uint64_t from = world_.operations();
  journal->record_progress(progress_at(1024));
  const auto writes = writes_since(from);
  ASSERT_EQ(writes.size(), 2u);
  EXPECT_EQ(writes[0].offset, Bytes(32768 + 4096));
  EXPECT_EQ(position_of(*Journal::open(directory_, kTestName, false)), Bytes(1024));
}

TEST_F(JournalTest, DoneIsWrittenToBothHeadersEachSyncedAndIsTheEnd) {
  auto journal = publish_journal(directory_, runs_);
  journal->record_progress({record_.copy_bytes, {}});
  const uint64_t from = world_.operations();
  journal->record_done(0xfeedface12345678);
  EXPECT_EQ(journal->state(), JournalState::kDone);
  const auto writes = writes_since(from);
  ASSERT_EQ(writes.size(), 4u);
  EXPECT_EQ(writes[0].offset, Bytes(0));
  EXPECT_EQ(writes[1].kind, OperationKind::kFileSync);
  EXPECT_EQ(writes[2].offset, Bytes(kHeaderSize));
  EXPECT_EQ(writes[3].kind, OperationKind::kFileSync);

  EXPECT_EQ(refusal([&] {
              journal->record_progress({record_.copy_bytes, {}});
            }),
            MessageId::kInternal);
  auto again = Journal::open(directory_, kTestName, true);
  EXPECT_EQ(again->state(), JournalState::kDone);
  EXPECT_EQ(again->fingerprint(), 0xfeedface12345678);
  EXPECT_EQ(position_of(*again), record_.copy_bytes);
  EXPECT_EQ(on_disk(again->record()), on_disk(record_));
  EXPECT_EQ(refusal([&] {
              again->record_progress({record_.copy_bytes, {}});
            }),
            MessageId::kInternal);
  EXPECT_EQ(refusal([&] { again->record_done(1); }), MessageId::kInternal);
}

TEST_F(JournalTest, ProgressEndsAtThePlansEndAndDoneIsOnlySaidThere) {
  auto journal = publish_journal(directory_, runs_);
  journal->record_progress(progress_at(4096));
  const FileBytes before = directory_.file(kTestName);
  EXPECT_EQ(refusal([&] {
              journal->record_progress({record_.copy_bytes + Bytes(1), {}});
            }),
            MessageId::kInternal);
  EXPECT_EQ(refusal([&] { journal->record_done(1); }), MessageId::kInternal);
  EXPECT_EQ(directory_.file(kTestName), before);
  journal->record_progress(progress_at(4096));
  EXPECT_EQ(position_of(*journal), Bytes(4096));
}

TEST_F(JournalTest, APositionThatIsTakenBackIsTakenBackFromEverySlot) {
  auto journal = publish_journal(directory_, runs_);
  for (uint64_t i = 1; i <= 11; ++i) journal->record_progress(progress_at(1000 * i));
  EXPECT_EQ(highest_claim(directory_.file(kTestName)), Bytes(11000));
  journal->record_progress({});
  EXPECT_EQ(position_of(*journal), Bytes(0));
  EXPECT_EQ(highest_claim(directory_.file(kTestName)), Bytes(0));
  journal = Journal::open(directory_, kTestName, true);
  EXPECT_EQ(position_of(*journal), Bytes(0));
  journal->record_progress(progress_at(500));
  EXPECT_EQ(highest_claim(directory_.file(kTestName)), Bytes(500));
}

TEST_F(JournalTest, AfterAFailedWriteOrSyncNothingMoreIsRecorded) {
  for (const uint64_t operation : {0u, 1u}) {
    auto journal = publish_journal(directory_, runs_);
    world_.fail_at(world_.operations() + operation, {});
    EXPECT_EQ(refusal([&] { journal->record_progress(progress_at(512)); }), MessageId::kJournalIo);
    EXPECT_EQ(position_of(*journal), Bytes(0));
    const uint64_t from = world_.operations();
    EXPECT_EQ(refusal([&] { journal->record_progress(progress_at(512)); }), MessageId::kJournalIo);
    EXPECT_EQ(world_.operations(), from);
  }
}

TEST_F(JournalTest, ARecordThatCannotBeIsNotBegun) {
  const std::vector<void (*)(MergeRecord&)> changes = {
      [](MergeRecord& r) { r.thin_id = ThinId{kMaxThinId + 1}; },
      [](MergeRecord& r) { r.root_choice = RootChoice{0}; },
      [](MergeRecord& r) { r.beyond_origin = BeyondOriginChoice{4}; },
      [](MergeRecord& r) { r.root_block = MetadataBlock(uint64_t{1} << 40); },
      [](MergeRecord& r) { r.mapping_root = MetadataBlock(uint64_t{1} << 40); },
      [](MergeRecord& r) { r.block_size = DataBlockSize(Bytes(0)); },
      [](MergeRecord& r) { r.block_size = DataBlockSize(Bytes(kTestBlock + 512)); },
      [](MergeRecord& r) { r.block_size = DataBlockSize(Bytes((1 << 30) + kTestBlock)); },
      [](MergeRecord& r) { r.logical_block_size = Bytes(0); },
      [](MergeRecord& r) { r.logical_block_size = Bytes(1000); },
      [](MergeRecord& r) { r.origin_size_after = Bytes(~uint64_t{0}); },
      [](MergeRecord& r) { r.thin_size = Bytes(uint64_t{1} << 63); },
      [](MergeRecord& r) { r.thin_size = r.plan_end - Bytes(1); },
      [](MergeRecord& r) { r.origin_size_before = r.origin_size_after - Bytes(1); },
      [](MergeRecord& r) { r.origin_size_before = r.origin_size_after + Bytes(1); },
      [](MergeRecord& r) { r.origin_size_before = r.origin_size_after = r.plan_end - Bytes(1); },
      [](MergeRecord& r) { r.copy_bytes = r.plan_end + Bytes(1); },
      [](MergeRecord& r) { r.mapped_blocks = 1; },
      [](MergeRecord& r) { r.runs = r.mapped_blocks + 1; },
      [](MergeRecord& r) { r.runs = 0; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    MergeRecord record = record_;
    changes[i](record);
    EXPECT_EQ(refusal([&] { Journal::begin(directory_, kTestName, record); }), MessageId::kInternal)
        << "change " << i;
  }
  EXPECT_TRUE(directory_.names().empty());
}

TEST(JournalNames, TellTheOriginBySixteenDigits) {
  EXPECT_EQ(unpublished_name("a"), "a.new");
  EXPECT_EQ(lock_name("a"), "a.lock");
  EXPECT_EQ(default_journal_name(""), "2d06800538d394c2.journal");  // XXH3's own test vector
  const std::string name = default_journal_name("dm:LVM-a/b");
  EXPECT_EQ(name.size(), 24u);
  EXPECT_EQ(name.find('/'), std::string::npos);
  EXPECT_NE(name, default_journal_name("dm:LVM-a/c"));
}

}  // namespace
}  // namespace extmerge
