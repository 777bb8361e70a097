// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/undo/log.h"

#include <gtest/gtest.h>

#include <thread>

#include "merge/journal/format.h"
#include "merge/undo/log_format.h"
#include "tests/merge/journal/journal_fixture.h"

namespace extmerge {
namespace {

constexpr uint64_t kLogNonce = 0x1234567890abcdef;
constexpr const char* kName = "undo";
// The head's size in a record with one range.
constexpr size_t kHeadSize = sizeof(DiskUndoRecord) + sizeof(DiskSavedRange) + 4;
using Contents = std::vector<std::byte>;

Contents repeated(size_t size, int value) { return Contents(size, static_cast<std::byte>(value)); }

struct Saved {
  uint64_t offset;
  Contents bytes;  // zeros where they were not stored
  friend bool operator==(const Saved&, const Saved&) = default;
};

class UndoLogTest : public testing::Test {
 protected:
  // Saves old bytes of that value, with new ones of the next value.
  void save(UndoLog& log, uint64_t position, uint64_t offset, size_t size, int value) {
    const Contents before = repeated(size, value), after = repeated(size, value + 1);
    const Overwrite overwrite{Bytes(offset), before, after};
    log.save(Bytes(position), {&overwrite, 1});
  }

  std::unique_ptr<UndoLog> open(Bytes durable = Bytes(0), Bytes position = Bytes(0)) {
    return UndoLog::open(directory, kName, kLogNonce, durable, position, {});
  }

  std::vector<Saved> read(Bytes durable = Bytes(0)) {
    const auto file = open_undo_log(directory, kName, false);
    UndoLogReader reader(*file, "/state/undo", kLogNonce, durable);
    std::vector<Saved> all;
    for (UndoRecord record; reader.next(record, UndoLogReader::What::kAll);) {
      size_t at = 0;
      for (const SavedRange& range : record.ranges) {
        const size_t length = range.length.value();
        Contents bytes(length);
        if (!range.is_zero) {
          std::copy_n(record.bytes.begin() + static_cast<ptrdiff_t>(at), length, bytes.begin());
          at += length;
        }
        all.push_back({range.offset.value(), bytes});
      }
    }
    return all;
  }

  void flip(size_t at) {
    Contents bytes = directory.file(kName);
    bytes.at(at) ^= std::byte{1};
    directory.put_file(kName, bytes);
  }

  // Changes a part and corrects its checksum, as a forger does.
  void change_part(size_t at, size_t size,
                   const std::function<void(std::span<std::byte>)>& change) {
    Contents bytes = directory.file(kName);
    const auto part = std::span(bytes).subspan(at, size);
    change(part);
    seal_part(part);
    directory.put_file(kName, bytes);
  }

  SimulatedWorld world;
  SimulatedDirectory directory{world};
};

TEST_F(UndoLogTest, GivesBackWhatWasSavedInTheOrderItWasSavedIn) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  save(*log, 8192, 65536, 8192, 7);
  save(*log, 4096, 0, 4096, 9);
  EXPECT_EQ(read(), (std::vector<Saved>{{65536, repeated(8192, 7)}, {0, repeated(4096, 9)}}));
}

TEST_F(UndoLogTest, DoesNotStoreZeros) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  save(*log, 1 << 20, 0, 1 << 20, 0);
  EXPECT_EQ(directory.file(kName).size(), kUndoHeaderSize + kUndoRecordAlignment);
  EXPECT_EQ(read(), (std::vector<Saved>{{0, repeated(1 << 20, 0)}}));
}

TEST_F(UndoLogTest, KeepsADigestOfWhatIsWritten) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  save(*log, 4096, 0, 4096, 3);
  const auto file = open_undo_log(directory, kName, false);
  UndoLogReader reader(*file, "/state/undo", kLogNonce, Bytes(0));
  UndoRecord record;
  ASSERT_TRUE(reader.next(record, UndoLogReader::What::kRanges));
  EXPECT_EQ(record.position, Bytes(4096));
  EXPECT_EQ(record.ranges.at(0).digest, digest_of(repeated(4096, 4)));
  EXPECT_TRUE(record.bytes.empty());
}

TEST_F(UndoLogTest, IsDurableWhenSaveReturns) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  save(*log, 4096, 0, 4096, 3);
  save(*log, 8192, 4096, 4096, 5);
  world.restart(Survivors::kNone, 1);
  EXPECT_EQ(read(log->durable_bytes()).size(), 2u);
}

TEST_F(UndoLogTest, SavesFromSeveralThreadsAreAllThere) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  {
    std::vector<std::jthread> threads;
    for (uint64_t i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        for (uint64_t n = 0; n < 50; ++n) save(*log, 4096, (i * 50 + n) << 16, 4096, 1);
      });
  }
  world.restart(Survivors::kNone, 1);
  std::vector<bool> seen(200);
  for (const Saved& saved : read(log->durable_bytes())) seen.at(saved.offset >> 16) = true;
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 200);
}

TEST_F(UndoLogTest, ALongRangeIsCutIntoRecordsThatFitInMemory) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  save(*log, 10 << 20, 0, 10 << 20, 7);
  uint64_t next = 0;
  for (const Saved& saved : read()) {
    EXPECT_EQ(saved.offset, next);
    EXPECT_EQ(saved.bytes, repeated(saved.bytes.size(), 7));
    next += saved.bytes.size();
  }
  EXPECT_EQ(next, 10u << 20);
}

TEST_F(UndoLogTest, GoneOnWithItSavesNothingTwice) {
  {
    const auto log = UndoLog::create(directory, kName, kLogNonce);
    save(*log, 65536, 0, 65536, 1);
    save(*log, 131072, 65536, 8192, 2);
    save(*log, 196608, 98304, 4096, 3);
  }
  const auto log = open(Bytes(0), Bytes(65536));
  // Bytes below the position are durable on the origin and are not saved again. Above it, saved
  // parts are left out.
  save(*log, 196608, 65536, 65536, 9);
  const std::vector<Saved> all = read();
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all[3], (Saved{73728, repeated(98304 - 73728, 9)}));
  EXPECT_EQ(all[4], (Saved{102400, repeated(131072 - 102400, 9)}));
}

TEST_F(UndoLogTest, WhatPowerCutsOffIsOverwritten) {
  uint64_t durable = 0;
  {
    const auto log = UndoLog::create(directory, kName, kLogNonce);
    save(*log, 4096, 0, 4096, 1);
    durable = log->durable_bytes().value();
  }
  Contents bytes = directory.file(kName);
  const Contents torn = repeated(3000, 0x55);
  bytes.insert(bytes.end(), torn.begin(), torn.end());
  directory.put_file(kName, bytes);
  {
    const auto log = open(Bytes(durable), Bytes(0));
    save(*log, 8192, 4096, 512, 2);
  }
  EXPECT_EQ(read().size(), 2u);
}

TEST_F(UndoLogTest, ARecordOfAnotherEndIsNotTakenForTheNext) {
  Contents longer;
  {
    const auto log = UndoLog::create(directory, kName, kLogNonce);
    save(*log, 4096, 0, 4096, 1);
    save(*log, 8192, 4096, 4096, 2);
    longer = directory.file(kName);
  }
  {
    const auto log = UndoLog::create(directory, "other", kLogNonce);
    save(*log, 4096, 0, 4096, 9);  // as long as the first of the other
  }
  const Contents shorter = directory.file("other");
  std::copy(shorter.begin(), shorter.end(), longer.begin());
  directory.put_file(kName, longer);
  EXPECT_EQ(read(), (std::vector<Saved>{{0, repeated(4096, 9)}}));
}

TEST_F(UndoLogTest, DamageBelowWhatIsDurableIsRefusedAndAboveItIsTheEnd) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  save(*log, 4096, 0, 4096, 1);
  const size_t first_end = kUndoHeaderSize + kHeadSize + 4096;
  const size_t second = directory.file(kName).size();
  save(*log, 8192, 4096, 4096, 2);
  const size_t size = directory.file(kName).size();
  for (size_t at = kUndoHeaderSize; at < second + kHeadSize + 4096; at += 7) {
    if (at >= first_end && at < second) continue;  // zeroes up to the next page are never read
    flip(at);
    EXPECT_EQ(refusal([&] { read(Bytes(size)); }), MessageId::kDamagedUndoLog) << at;
    // The second record was appended after a sync of the first, so this is not a torn end.
    const auto claims_less = [&] { return read(Bytes(kUndoHeaderSize)).size(); };
    if (at < first_end) {
      EXPECT_EQ(refusal(claims_less), MessageId::kDamagedUndoLog) << at;
    } else {
      EXPECT_EQ(claims_less(), 1u) << at;
    }
    flip(at);
  }
}

TEST_F(UndoLogTest, CutAtAnyLengthIsNeverBelieved) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  save(*log, 4096, 0, 512, 1);
  save(*log, 8192, 4096, 512, 2);
  const Contents whole = directory.file(kName);
  for (size_t length = 0; length < whole.size(); ++length) {
    directory.put_file(kName,
                       Contents(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)));
    EXPECT_EQ(refusal([&] { read(Bytes(whole.size())); }), MessageId::kDamagedUndoLog) << length;
  }
}

TEST_F(UndoLogTest, TheHeaderSaysWhoseItIs) {
  { UndoLog::create(directory, kName, kLogNonce + 1); }
  EXPECT_EQ(refusal([&] { open(); }), MessageId::kNoUndoLog);
  { UndoLog::create(directory, kName, kLogNonce); }
  for (size_t at = 0; at < kUndoHeaderSize; at += 5) {
    flip(at);
    EXPECT_EQ(refusal([&] { open(); }), MessageId::kDamagedUndoLog) << at;
    flip(at);
  }
  directory.remove(kName);
  EXPECT_EQ(refusal([&] { open(); }), MessageId::kNoUndoLog);
}

TEST_F(UndoLogTest, OfANewerVersionIsRefusedAsThat) {
  { UndoLog::create(directory, kName, kLogNonce); }
  change_part(0, kUndoHeaderSize, [](std::span<std::byte> header) {
    header[offsetof(DiskUndoHeader, version)] = std::byte{2};
  });
  EXPECT_EQ(refusal([&] { open(); }), MessageId::kJournalVersion);
}

TEST_F(UndoLogTest, ASealedRecordThatCannotBeIsTheEnd) {
  struct Change {
    const char* name;
    size_t at;
    std::byte value;
  };
  constexpr size_t kRange = sizeof(DiskUndoRecord);
  const Change changes[] = {
      {"no length", kRange + offsetof(DiskSavedRange, length) + 1, std::byte{0}},
      {"another length", kRange + offsetof(DiskSavedRange, length) + 1, std::byte{0x20}},
      {"an unknown flag", kRange + offsetof(DiskSavedRange, flags), std::byte{2}},
      {"past any device", kRange + offsetof(DiskSavedRange, offset) + 7, std::byte{0x80}},
      {"saved elsewhere", offsetof(DiskUndoRecord, saved_bytes) + 1, std::byte{0x20}}};
  { save(*UndoLog::create(directory, kName, kLogNonce), 4096, 0, 4096, 1); }
  const Contents honest = directory.file(kName);
  for (const Change& change : changes) {
    directory.put_file(kName, honest);
    change_part(kUndoHeaderSize, kHeadSize,
                [&](std::span<std::byte> head) { head[change.at] = change.value; });
    EXPECT_TRUE(read().empty()) << change.name;
    EXPECT_EQ(refusal([&] { read(Bytes(honest.size())); }), MessageId::kDamagedUndoLog)
        << change.name;
  }
}

TEST_F(UndoLogTest, ReadingItCanBeStopped) {
  { save(*UndoLog::create(directory, kName, kLogNonce), 4096, 0, 4096, 1); }
  std::stop_source stop;
  stop.request_stop();
  const auto go_on = [&] {
    UndoLog::open(directory, kName, kLogNonce, Bytes(0), Bytes(0), stop.get_token());
  };
  EXPECT_EQ(refusal(go_on), MessageId::kStopped);
}

TEST_F(UndoLogTest, OfAnotherOriginIsNotTakenOverThoughNothingWasSavedYet) {
  { UndoLog::create(directory, kName, kLogNonce, undo_log_owner("a")); }
  EXPECT_EQ(refusal([&] { UndoLog::create(directory, kName, kLogNonce, undo_log_owner("b")); }),
            MessageId::kUndoLogInTheWay);
  UndoLog::create(directory, kName, kLogNonce + 1, undo_log_owner("a"));
}

TEST_F(UndoLogTest, IsNotMadeOverAnythingThatHoldsSomething) {
  directory.put_file(kName, {});
  { UndoLog::create(directory, kName, kLogNonce); }
  // A log without records.
  {
    const auto log = UndoLog::create(directory, kName, kLogNonce + 1);
    save(*log, 4096, 0, 4096, 1);
  }
  EXPECT_EQ(refusal([&] { UndoLog::create(directory, kName, kLogNonce); }),
            MessageId::kUndoLogInTheWay);
  directory.put_file(kName, repeated(kUndoHeaderSize, 'x'));
  EXPECT_EQ(refusal([&] { UndoLog::create(directory, kName, kLogNonce); }),
            MessageId::kUndoLogInTheWay);
}

TEST_F(UndoLogTest, AfterAFailureNothingIsSavedAnyMore) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  world.fail_at(world.operations() + 1, {.error_number = EIO});  // the sync
  EXPECT_EQ(refusal([&] { save(*log, 4096, 0, 4096, 1); }), MessageId::kJournalIo);
  EXPECT_EQ(refusal([&] { save(*log, 8192, 4096, 4096, 1); }), MessageId::kJournalIo);
}

// A failed sync leaves pages that look written but are not.
TEST_F(UndoLogTest, WhatAFailedSyncLostIsSavedAgainByTheNextRun) {
  {
    const auto log = UndoLog::create(directory, kName, kLogNonce);
    world.fail_at(world.operations() + 1, {.error_number = EIO});
    EXPECT_EQ(refusal([&] { save(*log, 4096, 0, 4096, 1); }), MessageId::kJournalIo);
  }
  ASSERT_EQ(read().size(), 1u) << "the page cache has it";
  {
    const auto log = open(Bytes(kUndoHeaderSize), Bytes(0));
    save(*log, 4096, 0, 4096, 1);
  }
  world.restart(Survivors::kNone, 1);
  EXPECT_EQ(read(), (std::vector<Saved>{{0, repeated(4096, 1)}}));
}

// Synced records may be needed: a power cut during a write must not tear them.
TEST_F(UndoLogTest, GoneOnWithItWritesNothingWhereSomethingIsSaved) {
  { save(*UndoLog::create(directory, kName, kLogNonce), 4096, 0, 5000, 1); }
  const uint64_t size = directory.file(kName).size();
  world.restart(Survivors::kNone, 1);
  { save(*open(), 8192, 8192, 512, 2); }
  bool appended = false;
  for (const Operation& operation : world.history()) {
    if (operation.kind != OperationKind::kFileWrite) continue;
    EXPECT_GE(operation.offset, Bytes(size));
    appended = true;
  }
  EXPECT_TRUE(appended);
}

TEST_F(UndoLogTest, WhatIsSavedSurvivesTornAppending) {
  { save(*UndoLog::create(directory, kName, kLogNonce), 4096, 0, 5000, 1); }
  const SimulatedWorld::Saved one_is_saved = world.save();
  uint64_t in_part = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    world.put_back(one_is_saved);
    world.restart(Survivors::kNone, 1);
    {
      const auto log = open();
      world.cut_power_at(world.operations() + 1);  // the sync
      EXPECT_EQ(refusal([&] { save(*log, 8192, 8192, 5000, 2); }), MessageId::kJournalIo);
    }
    world.restart(Survivors::kGarbage, seed);
    const std::vector<Saved> all = read();
    ASSERT_FALSE(all.empty()) << seed;
    EXPECT_EQ(all[0], (Saved{0, repeated(5000, 1)})) << seed;
    in_part += all.size() == 1 && directory.file(kName).size() > 3 * 4096;
  }
  EXPECT_GT(in_part, 10u);
}

TEST_F(UndoLogTest, AFullDiskIsSaidToBeOne) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  world.fail_at(world.operations(), {.kind = Fault::Kind::kShort, .error_number = ENOSPC});
  EXPECT_EQ(refusal([&] { save(*log, 4096, 0, 4096, 1); }), MessageId::kNoSpace);
  EXPECT_TRUE(read().empty());
}

TEST_F(UndoLogTest, ItsSizeIsAtMostWhatIsEstimated) {
  const auto log = UndoLog::create(directory, kName, kLogNonce);
  for (uint64_t i = 0; i < 100; ++i) save(*log, 4096 * (i + 1), 8192 * i, 4096, 1);
  EXPECT_LE(Bytes(directory.file(kName).size()), undo_log_size(Bytes(100 * 4096), 100));
}

}  // namespace
}  // namespace extmerge
