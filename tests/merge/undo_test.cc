// SPDX-License-Identifier: GPL-3.0-or-later
//
// The undo of a merge, on simulated disks. crash_test.cc and fault_test.cc test power cuts and
// faults during an undo.

#include <gtest/gtest.h>

#include "merge/journal/format.h"
#include "merge/undo/log_format.h"
#include "persistent-data/disk_format.h"
#include "tests/merge/merge_fixture.h"

namespace extmerge {
namespace {

class UndoTest : public MergerTest {
 protected:
  void SetUp() override {
    set_up(plain_shape());
    save_to("/state/undo");
  }
  void save_to(const std::string& path) {
    job = scene->job(directory);
    job->undo_log = job->custody->undo_log_at(path);
  }
  UndoReport undo(std::stop_token stop = {}) {
    return merger(stop).undo([](const UndoReport&) { return true; });
  }
  MessageId undo_failure() {
    return failure([&] { undo(); });
  }
  // Stops the undo at its third write.
  void undo_in_part() {
    std::stop_source stop;
    uint64_t writes = 0;
    world.on_operation([&](const Operation& op) {
      if (op.kind == OperationKind::kWrite && ++writes == 3) stop.request_stop();
    });
    EXPECT_EQ(failure([&] { undo(stop.get_token()); }), MessageId::kStopped);
    world.on_operation({});
  }
  void expect_undone() { expect_untouched(scene->first_origin()); }
  void overwrite_origin(uint64_t offset, std::byte value) {
    scene->origin().overwrite(Bytes(offset), std::vector<std::byte>(512, value));
  }
};

TEST_F(UndoTest, OfAFinishedMergeRestoresTheOrigin) {
  const MergeReport merged = merge();
  EXPECT_EQ(merged.undo_log, "/state/undo");
  expect_merged();
  const UndoReport report = undo();
  EXPECT_FALSE(report.was_undone);
  EXPECT_EQ(report.saved_bytes, merged.counters.bytes_written);
  EXPECT_EQ(report.origin_bytes, Bytes(16 * kBlock));
  expect_undone();
  EXPECT_FALSE(scene->origin().dirty());
}

TEST_F(UndoTest, OnlyWhatChangesIsSavedAndWritten) {
  SceneShape shape = plain_shape();
  shape.percent_equal = 80;
  set_up(shape);
  save_to("/state/undo");
  const MergeReport merged = merge();
  EXPECT_LT(merged.counters.bytes_written, Bytes(3 * kBlock));
  EXPECT_LE(Bytes(directory->file("undo").size()),
            undo_log_size(merged.counters.bytes_written, 16));
  undo();
  expect_undone();
}

TEST_F(UndoTest, OfAnUnfinishedMergeRestoresTheOrigin) {
  merge_in_part();
  EXPECT_NE(first_difference(scene->origin().contents(), scene->first_origin()), "");
  undo();
  expect_undone();
}

TEST_F(UndoTest, IsASuccessWhereNothingWasSavedYet) {
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kWrite) world.cut_power_at(world.operations());
  });
  merge_failure();
  world.on_operation({});
  world.restart(Survivors::kNone, 1);
  const UndoReport report = undo();
  EXPECT_EQ(first_difference(scene->origin().contents(), scene->first_origin()), "");
  EXPECT_FALSE(report.was_undone);
}

TEST_F(UndoTest, ZeroesOnTheOriginComeBack) {
  scene->origin().overwrite(Bytes(0), std::vector<std::byte>(kBlock, std::byte{0}));
  const auto before = scene->origin().contents();
  const uint64_t saved = undo_log_size(merge().counters.bytes_written, 16).value();
  EXPECT_LT(directory->file("undo").size() + kBlock / 2, saved) << "zeroes take no room";
  EXPECT_NE(first_difference(scene->origin().contents(), before), "");
  undo();
  expect_untouched(before);
}

TEST_F(UndoTest, WhatIsUndoneCannotBeResumed) {
  merge();
  undo();
  EXPECT_EQ(failure([&] { merger().resume(); }), MessageId::kNothingToResume);
}

TEST_F(UndoTest, TwiceIsOnce) {
  merge();
  undo();
  overwrite_origin(0, std::byte{1});  // in use again
  const auto now = scene->origin().contents();
  EXPECT_TRUE(undo().was_undone);
  expect_untouched(now);
}

TEST_F(UndoTest, WhatIsUndoneCanBeMergedAgain) {
  merge();
  undo();
  directory->remove("undo");
  EXPECT_EQ(merge().state, JournalState::kDone);
  expect_merged();
  undo();
  expect_undone();
}

TEST_F(UndoTest, TheNextMergeSaysThatItIsTheEndOfThat) {
  merge();
  job.reset();
  options.again = true;
  const auto says_so = [](const PlanReport& plan) {
    return std::ranges::any_of(plan.notes, [](const std::string& note) {
      return note.find("only until this merge begins") != std::string::npos;
    });
  };
  EXPECT_TRUE(says_so(merger().plan()));
  directory->remove("undo");
  EXPECT_FALSE(says_so(merger().plan()));
}

// The journal's nonce and all checksums are right: only the plan shows the fault.
TEST_F(UndoTest, WritesNothingPastThePlansEnd) {
  SceneShape shape = plain_shape();
  shape.thin_size = 12 * kBlock;
  set_up(shape);
  save_to("/state/undo");
  merge();
  const uint64_t nonce = Journal::open(*directory, "journal", false)->nonce();
  const std::vector<std::byte> old_bytes(512, std::byte{1}), now = scene->origin().contents();
  directory->remove("undo");
  const auto forged = UndoLog::create(*directory, "undo", nonce);
  const Overwrite past{Bytes(12 * kBlock), old_bytes,
                       std::span(now).subspan(12 * kBlock, old_bytes.size())};
  forged->save(Bytes(kBlock), {&past, 1});
  EXPECT_EQ(undo_failure(), MessageId::kDamagedUndoLog);
  EXPECT_NE(words.find("past the plan's end"), std::string::npos) << words;
  expect_untouched(now);
}

TEST_F(UndoTest, RefusesWhereTheOriginWasWrittenToSince) {
  merge();
  overwrite_origin(4 * kBlock + 8192, std::byte{7});
  const auto now = scene->origin().contents();
  EXPECT_EQ(undo_failure(), MessageId::kOriginChanged);
  expect_untouched(now);
  options.overrides.allow_stale = true;
  undo();
  expect_undone();
}

TEST_F(UndoTest, LeavesAloneWhatWasWrittenOutsideThePlan) {
  merge();
  overwrite_origin(2 * kBlock, std::byte{7});
  auto expected = scene->first_origin();
  std::fill_n(expected.begin() + 2 * kBlock, 512, std::byte{7});
  undo();
  expect_untouched(expected);
}

TEST_F(UndoTest, OldNewAndTornBytesAreAcceptedPastWhatWasRecorded) {
  merge_in_part();
  // The first checkpoint has recorded the first blocks of the plan.
  overwrite_origin(11 * kBlock, std::byte{7});
  undo();
  auto expected = scene->first_origin();
  // A saved block is restored. A block that the merge never reached keeps the other program's
  // bytes.
  if (scene->origin().contents() != expected)
    std::fill_n(expected.begin() + 11 * kBlock, 512, std::byte{7});
  expect_untouched(expected);
}

TEST_F(UndoTest, CutsOffWhatTheMergeAdded) {
  SceneShape shape;
  shape.origin_size = 2 * kBlock + 4096;
  shape.thin_size = 5 * kBlock + 8192;
  shape.mappings = {{1, 0}, {2, 1}, {5, 2}};
  set_up(shape);
  save_to("/state/undo");
  options.beyond_origin = BeyondOriginChoice::kExtend;
  merge();
  EXPECT_EQ(scene->origin().size(), Bytes(*shape.thin_size));
  job->origin.size = scene->origin().size();
  EXPECT_EQ(undo().origin_bytes, Bytes(shape.origin_size));
  expect_undone();
}

TEST_F(UndoTest, RefusesAnOriginOfAnotherSize) {
  merge();
  job->origin.size = Bytes(20 * kBlock);
  EXPECT_EQ(undo_failure(), MessageId::kSizeChanged);
}

TEST_F(UndoTest, RefusesAnotherOrigin) {
  merge();
  job->origin.identity = "simulated:other";
  EXPECT_EQ(undo_failure(), MessageId::kOtherSource);
}

TEST_F(UndoTest, NeedsAnUndoLog) {
  job.reset();
  EXPECT_EQ(undo_failure(), MessageId::kNoJournal);
  merge();
  EXPECT_EQ(undo_failure(), MessageId::kNoUndoLog);
}

TEST_F(UndoTest, NeedsTheUndoLogOfThisMerge) {
  merge();
  const auto log = directory->file("undo");
  directory->remove("undo");
  EXPECT_EQ(undo_failure(), MessageId::kNoUndoLog);
  UndoLog::create(*directory, "undo", 1);
  EXPECT_EQ(undo_failure(), MessageId::kNoUndoLog);
  auto damaged = log;
  damaged[5000] ^= std::byte{1};
  directory->put_file("undo", damaged);
  const auto before = scene->origin().contents();
  EXPECT_EQ(undo_failure(), MessageId::kDamagedUndoLog);
  expect_untouched(before);
  directory->put_file("undo", log);
  undo();
  expect_undone();
}

// The journal's progress has the log's least size; from DONE on its header has it, too.
TEST_F(UndoTest, ALogThatWasCutIsNeverBelievedThoughTheProgressIsLost) {
  const auto lose_progress_and_cut_log = [&] {
    auto journal = directory->file("journal");
    std::fill_n(journal.begin() + kSlotsOffset, kSlots * kSlotDistance, std::byte{0});
    directory->put_file("journal", journal);
    auto log = directory->file("undo");
    log.resize(kUndoHeaderSize);
    directory->put_file("undo", log);
  };
  merge_in_part();
  const auto half_merged = scene->origin().contents();
  const auto journal = directory->file("journal"), log = directory->file("undo");
  lose_progress_and_cut_log();
  EXPECT_EQ(undo_failure(), MessageId::kDamagedJournal);
  EXPECT_EQ(merge_failure(), MessageId::kDamagedJournal);
  options.restart = true;
  EXPECT_EQ(merge_failure(), MessageId::kUndoFirst);
  options.restart = false;
  expect_untouched(half_merged);

  directory->put_file("journal", journal);
  directory->put_file("undo", log);
  EXPECT_EQ(merge().state, JournalState::kDone);
  const auto merged = scene->origin().contents();
  lose_progress_and_cut_log();
  EXPECT_EQ(undo_failure(), MessageId::kDamagedUndoLog);
  expect_untouched(merged);
}

TEST_F(UndoTest, NothingIsDoneWithoutConsent) {
  merge();
  const auto before = scene->origin().contents();
  Bytes asked;
  EXPECT_EQ(failure([&] {
              merger().undo([&](const UndoReport& found) {
                asked = found.saved_bytes;
                return false;
              });
            }),
            MessageId::kNotConfirmed);
  EXPECT_EQ(asked, Bytes(6 * kBlock));
  expect_untouched(before);
}

TEST_F(UndoTest, AStopLeavesItToBeGoneOnWith) {
  merge();
  undo_in_part();
  EXPECT_EQ(merge_failure(), MessageId::kUndoFirst);
  options.restart = options.again = true;
  EXPECT_EQ(merge_failure(), MessageId::kUndoFirst);
  undo();
  expect_undone();
}

TEST_F(UndoTest, GoneOnWithItRefusesWhatWasWrittenOverWhatIsPutBack) {
  merge();
  undo_in_part();
  overwrite_origin(0, std::byte{7});
  EXPECT_EQ(undo_failure(), MessageId::kOriginChanged);
  options.overrides.allow_stale = true;
  undo();
  expect_undone();
}

TEST_F(UndoTest, ABeginningAnewDoesNotLoseTheLog) {
  merge_in_part();
  options.restart = true;
  EXPECT_EQ(merge_failure(), MessageId::kUndoFirst);
  directory->remove("undo");
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(UndoTest, ABeginningAnewBecauseOfADamagedPlanDoesNotLoseTheLogEither) {
  merge_in_part();
  auto journal = directory->file("journal");
  journal[kPlanOffset + 30] ^= std::byte{1};
  directory->put_file("journal", journal);
  EXPECT_EQ(merge_failure(), MessageId::kDamagedJournal);
  options.restart = true;
  EXPECT_EQ(merge_failure(), MessageId::kUndoFirst);
  directory->remove("undo");
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(UndoTest, AResumeGoesOnWithTheSameLog) {
  merge_in_part();
  save_to("/state/other");
  EXPECT_EQ(merge_failure(), MessageId::kUndoLogInTheWay);
  job.reset();
  EXPECT_EQ(merger().resume().undo_log, "/state/undo");
  expect_merged();
  undo();
  expect_undone();
}

TEST_F(UndoTest, ALogCannotBeginInTheMiddle) {
  job.reset();
  merge_in_part();
  save_to("/state/undo");
  EXPECT_EQ(merge_failure(), MessageId::kUndoLogInTheWay);
}

TEST_F(UndoTest, AMergeWithoutItsLogDoesNotGoOn) {
  merge_in_part();
  const auto before = scene->origin().contents();
  directory->remove("undo");
  EXPECT_EQ(merge_failure(), MessageId::kNoUndoLog);
  expect_untouched(before);
}

TEST_F(UndoTest, APlanEstimatesTheLog) {
  const PlanReport plan = merger().plan();
  ASSERT_TRUE(plan.undo_log);
  EXPECT_EQ(plan.undo_log->path, "/state/undo");
  EXPECT_EQ(plan.undo_log->expected, plan.undo_log->most);
  EXPECT_FALSE(directory->has_file("undo"));
  SceneShape shape = plain_shape();
  shape.percent_equal = 100;
  set_up(shape);
  save_to("/state/undo");
  EXPECT_EQ(merger().plan().undo_log->expected, undo_log_size(Bytes(0), 1));
  job.reset();
  EXPECT_FALSE(merger().plan().undo_log);
}

TEST_F(UndoTest, RoomIsAskedForFirst) {
  const auto before = scene->origin().contents();
  job->undo_log->free_space = Bytes(5 * kBlock);
  EXPECT_EQ(merge_failure(), MessageId::kNoSpace);
  expect_untouched(before);
  job->undo_log->free_space = merger().plan().undo_log->most;
  merge();
}

TEST_F(UndoTest, WhereTheDiskIsFullAllTheSameTheMergeStopsAndGoesOn) {
  uint64_t writes = 0;
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kFileWrite && op.object == "undo" && ++writes == 4)
      world.fail_at(world.operations(), {.kind = Fault::Kind::kShort, .error_number = ENOSPC});
  });
  EXPECT_EQ(merge_failure(), MessageId::kNoSpace);
  world.on_operation({});
  EXPECT_EQ(merge().state, JournalState::kDone);
  expect_merged();
  undo();
  expect_undone();
}

TEST_F(UndoTest, AFileThatIsInTheWayIsLeftAlone) {
  directory->put_file("undo", std::vector<std::byte>(100, std::byte{1}));
  EXPECT_EQ(merge_failure(), MessageId::kUndoLogInTheWay);
  EXPECT_EQ(directory->file("undo").size(), 100u);
  expect_untouched(scene->first_origin());
  EXPECT_EQ(merger().plan().refusals.at(0).id(), MessageId::kUndoLogInTheWay);
}

TEST_F(UndoTest, ItsPlaceIsJudgedAsTheJournalsIs) {
  job->undo_log->files = {{.file_system = 1, .inode = 3}};  // the origin
  EXPECT_EQ(merge_failure(), MessageId::kJournalOnOrigin);
  for (const char* name : {"journal", "journal.new", "journal.lock", "other.journal.lvm"}) {
    save_to(std::string("/state/") + name);
    EXPECT_EQ(merge_failure(), MessageId::kUndoLogInTheWay) << name;
  }
  save_to("/state/undo");
  job->undo_log->is_writable = false;
  EXPECT_EQ(merge_failure(), MessageId::kPermission);
  job->undo_log->directory.reset();
  EXPECT_EQ(merge_failure(), MessageId::kNotFound);
}

TEST_F(UndoTest, AJournalOrALogOnAFileSystemInMemoryIsWorthANote) {
  const auto notes = [&] {
    return std::ranges::count_if(merger().plan().notes, [](const std::string& note) {
      return note.find("on a file system in memory") != std::string::npos;
    });
  };
  EXPECT_EQ(notes(), 0);
  job->journal.is_volatile = job->undo_log->is_volatile = true;
  EXPECT_EQ(notes(), 2);
}

TEST_F(UndoTest, AFailedVerificationKeepsWhatWasSaved) {
  options.verify = VerifyChoice::kFull;
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kRead && progress.phase == Phase::kVerifying)
      overwrite_origin(11 * kBlock, std::byte{7});
  });
  EXPECT_EQ(merge_failure(), MessageId::kDiffers);
  world.on_operation({});
  EXPECT_EQ(merge().state, JournalState::kDone);
  undo();
  expect_undone();
}

TEST_F(UndoTest, ADifferenceAfterwardsIsSaidAndMendedByRunningAgain) {
  merge();
  bool written = false;
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kWrite && op.object == "/images/origin") written = true;
    if (op.kind == OperationKind::kRead && op.object == "/images/origin" && written)
      overwrite_origin(0, std::byte{7});
  });
  EXPECT_EQ(undo_failure(), MessageId::kDiffers);
  world.on_operation({});
  undo();
  expect_undone();
}

class UndoOnLivePool : public LivePool {
 protected:
  void SetUp() override {
    LivePool::SetUp();
    use_metadata([](MetadataBuilder&) {});
    job->undo_log = job->custody->undo_log_at("/state/undo");
  }
  // Thin 2 maps one of the planned blocks and no other.
  void add_devices(MetadataBuilder& pool) override { pool.add_device(2, pool.add_tree({{0, 4}})); }
  MessageId undo_failure() {
    return failure([&] { merger().undo([](const UndoReport&) { return true; }); });
  }
};

TEST_F(UndoOnLivePool, TheLastCopyOfTheMergedStateIsNotDestroyed) {
  merge();
  job->thin_id = ThinId{5};
  EXPECT_EQ(undo_failure(), MessageId::kSnapshotGone);
  expect_merged();
  options.overrides.allow_removed_snapshot = true;
  merger().undo([](const UndoReport&) { return true; });
  expect_untouched(scene->first_origin());
}

TEST_F(UndoOnLivePool, AUserOfTheOriginThatComesWhileItIsAskedIsNoticed) {
  merge();
  custody_of(*job).on_look_again = [](Job& t) { t.origin_users = {{ThinId{9}, "vg/late", false}}; };
  EXPECT_EQ(undo_failure(), MessageId::kSharedOrigin);
  EXPECT_NE(words.find("vg/late"), std::string::npos) << words;
  expect_merged();
}

TEST_F(UndoOnLivePool, AnotherPoolUnderTheSamePathIsNotTheSnapshots) {
  merge();
  job->data.identity = "simulated:other";
  EXPECT_EQ(undo_failure(), MessageId::kSnapshotGone);
  expect_merged();
}

TEST_F(UndoOnLivePool, AnotherThinOfTheSameIdIsNotTheSnapshot) {
  merge();
  use_metadata([](MetadataBuilder& pool) {
    const uint64_t leaf = pool.details().root();
    reinterpret_cast<DiskDeviceDetails&>(pool.value(leaf, 0)).creation_time.set(77);
    pool.fix_checksum(leaf);
  });
  EXPECT_EQ(undo_failure(), MessageId::kSnapshotGone);
  expect_merged();
}

TEST_F(UndoOnLivePool, AThinThatReadsTheOriginMustNotChange) {
  options.overrides.allow_shared_origin = true;
  job->origin_users = {{ThinId{2}, "vg/other", true}};
  merge();
  options.overrides.allow_shared_origin = false;
  EXPECT_EQ(undo_failure(), MessageId::kSharedOrigin);
  EXPECT_NE(words.find("vg/other (5 blocks)"), std::string::npos) << words;
  expect_merged();
  job->origin_users = {{ThinId{9}, "vg/elsewhere", false}};
  EXPECT_EQ(undo_failure(), MessageId::kSharedOrigin);
  options.overrides.allow_shared_origin = true;
  merger().undo([](const UndoReport&) { return true; });
  expect_untouched(scene->first_origin());
}

}  // namespace
}  // namespace extmerge
