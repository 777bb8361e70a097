// SPDX-License-Identifier: GPL-3.0-or-later
//
// The main path on simulated disks: refusals, resumes and messages.

#include "merge/merge.h"

#include <gtest/gtest.h>

#include "tests/merge/merge_fixture.h"

namespace extmerge {
namespace {

TEST_F(MergerTest, PlanReportsAndChangesNothing) {
  const auto before = scene->origin().contents();
  uint64_t runs = 0;
  const PlanReport report = merger().plan([&](const extmerge::Run&) { ++runs; });
  EXPECT_TRUE(report.refusals.empty());
  EXPECT_EQ(report.summary.mapped_blocks, 6u);
  EXPECT_EQ(report.summary.runs, 5u);
  EXPECT_EQ(runs, 5u);
  EXPECT_EQ(report.summary.copy_bytes, Bytes(6 * kBlock));
  expect_untouched(before);
  EXPECT_TRUE(directory->names().empty());
}

TEST_F(MergerTest, MergeMakesTheOriginEqualToTheView) {
  const MergeReport report = merge();
  EXPECT_EQ(report.state, JournalState::kDone);
  EXPECT_EQ(report.durable_bytes, report.total_bytes);
  EXPECT_EQ(report.counters.bytes_written, Bytes(6 * kBlock));
  expect_merged();
  EXPECT_FALSE(scene->origin().dirty());
}

TEST_F(MergerTest, NothingIsWrittenWithoutConsent) {
  const auto before = scene->origin().contents();
  EXPECT_EQ(failure([&] { merger().merge([](const PlanReport&) { return false; }); }),
            MessageId::kNotConfirmed);
  expect_untouched(before);
  EXPECT_TRUE(directory->names().empty());
}

TEST_F(MergerTest, AMergeThatIsDoneIsNotRunAgainUnlessAsked) {
  merge();
  EXPECT_EQ(merge_failure(), MessageId::kAlreadyDone);
  options.again = true;
  EXPECT_EQ(merge().resumed_from, Bytes(0));
  expect_merged();
}

TEST_F(MergerTest, AgainAndRestartAreNoOpsWhereThereIsNothingToOverride) {
  options.again = options.restart = true;
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(MergerTest, GoesOnByItselfWithAnUnfinishedJournal) {
  merge_in_part();
  const PlanReport plan = merger().plan();
  ASSERT_TRUE(plan.resumable_from.has_value());
  EXPECT_GT(*plan.resumable_from, Bytes(0));
  const MergeReport report = merge();
  EXPECT_EQ(report.resumed_from, *plan.resumable_from);
  EXPECT_EQ(report.state, JournalState::kDone);
  expect_merged();
}

TEST_F(MergerTest, RestartBeginsAnUnfinishedMergeAnew) {
  merge_in_part();
  options.restart = true;
  EXPECT_EQ(merge().resumed_from, Bytes(0));
  expect_merged();
}

TEST_F(MergerTest, ResumeNeedsAnUnfinishedJournal) {
  EXPECT_EQ(failure([&] { merger().resume(); }), MessageId::kNoJournal);
  merge_in_part();
  EXPECT_EQ(merger().resume().state, JournalState::kDone);
  expect_merged();
  EXPECT_EQ(failure([&] { merger().resume(); }), MessageId::kNothingToResume);
}

TEST_F(MergerTest, AWatermarkIsNotBelievedOverAnOriginThatWasReplaced) {
  merge_in_part();
  const std::vector<std::byte> other(16 * kBlock, std::byte{0x5a});
  scene->origin().overwrite(Bytes(0), other);
  EXPECT_EQ(merge_failure(), MessageId::kSampleDiffers);
  expect_untouched(other);
}

TEST_F(MergerTest, AnotherSnapshotIsNotMergedIntoAHalfMergedOrigin) {
  merge_in_part();
  const auto before = scene->origin().contents();
  job = scene->job(directory);
  job->metadata.identity = "another pool";
  EXPECT_EQ(merge_failure(), MessageId::kHalfMerged);
  EXPECT_EQ(failure([&] { merger().resume(); }), MessageId::kOtherSource);
  expect_untouched(before);
}

TEST_F(MergerTest, AJournalOfAnotherOriginIsRefusedWhateverTheOverrides) {
  merge_in_part();
  job = scene->job(directory);
  job->origin.identity = "another origin";
  options.restart = options.again = true;
  EXPECT_EQ(merge_failure(), MessageId::kForeignJournal);
}

TEST_F(MergerTest, AnOtherEndThanTheUnfinishedMergeHadIsRefused) {
  merge_in_part();
  job = scene->job(directory);
  job->thin_size = Bytes(7 * kBlock);
  EXPECT_EQ(merge_failure(), MessageId::kStale);
  EXPECT_NE(words.find("ends at another byte"), std::string::npos);
}

TEST_F(MergerTest, AnOriginOfAnotherSizeIsNotResumed) {
  merge_in_part();
  job = scene->job(directory);
  job->origin.size = Bytes(17 * kBlock);
  EXPECT_EQ(merge_failure(), MessageId::kSizeChanged);
}

TEST_F(MergerTest, AJournalThatIsLockedIsAnotherExtmergesBusiness) {
  const auto lock = directory->try_lock(lock_name("journal"));
  ASSERT_TRUE(lock);
  EXPECT_EQ(merge_failure(), MessageId::kJournalLocked);
}

TEST_F(MergerTest, ADamagedJournalIsRefusedAndCanBeDiscarded) {
  merge_in_part();
  auto bytes = directory->file("journal");
  for (size_t i = 8; i < bytes.size(); i += 16) bytes[i] ^= std::byte{1};
  directory->put_file("journal", bytes);
  EXPECT_EQ(merge_failure(), MessageId::kDamagedJournal);
  options.restart = true;
  EXPECT_EQ(merge().state, JournalState::kDone);
  expect_merged();
}

TEST_F(MergerTest, AFileThatIsNoJournalIsNeverReplacedOrRemoved) {
  const std::vector<std::byte> letter(5000, std::byte{'x'});
  directory->put_file("journal", letter);
  options.restart = true;
  EXPECT_EQ(merge_failure(), MessageId::kNotAJournal);
  EXPECT_EQ(directory->file("journal"), letter);

  directory->remove("journal");
  directory->put_file("journal.new", letter);
  EXPECT_EQ(merge_failure(), MessageId::kNotAJournal);
  EXPECT_EQ(directory->file("journal.new"), letter);
}

// A new user of the origin appears between the question and the claim, or during the copy.
TEST_F(MergerTest, UsersThatComeLateAreNoticed) {
  struct Late {
    const char* name;
    std::function<void(Job&)> change;
    MessageId id;
  };
  const Late late[] = {
      {"mounted", [](Job& t) { t.origin.mount_points = {"/mnt"}; }, MessageId::kMounted},
      {"held",
       [](Job& t) {
         t.origin.holders = {{"loop7", 7}};
       },
       MessageId::kHeld},
      {"read-only", [](Job& t) { t.origin.read_only = true; }, MessageId::kReadOnly},
      {"replaced", [](Job& t) { t.origin.identity = "another"; }, MessageId::kPathChanged},
  };
  for (const Late& user : late) {
    for (const int at_look : {1, 2}) {
      set_up(plain_shape());
      const auto before = scene->origin().contents();
      job = scene->job(directory, std::string("journal-") + user.name + std::to_string(at_look));
      int looks = 0;
      custody_of(*job).on_look_again = [&](Job& t) {
        if (++looks == at_look) user.change(t);
      };
      EXPECT_EQ(merge_failure(), user.id) << user.name << at_look;
      if (at_look == 1) expect_untouched(before);
      const auto journal = Journal::open(*directory, job->journal.name, false);
      EXPECT_TRUE(at_look == 1 ? journal == nullptr : journal->state() == JournalState::kCopying);
    }
  }
}

TEST_F(MergerTest, OnlyACommandThatReservedTheMappingsPutsThemBack) {
  for (const bool is_own : {false, true}) {
    set_up(plain_shape());
    job = scene->job(directory);
    if (is_own) custody_of(*job).on_reserve = [] {};
    Phase last = Phase::kPlanning;
    custody_of(*job).on_look_again = [&](Job&) { last = progress.phase; };
    merge();
    EXPECT_EQ(last == Phase::kPuttingBack, is_own);
  }
}

TEST_F(MergerTest, AnImageModifiedSinceTheLastMergeIsNoticedWhateverTheSampleSees) {
  job = scene->job(directory);
  job->origin.modified = 1000;
  merge();
  job->thin_size = Bytes(15 * kBlock);
  job->origin.modified = 1001;
  EXPECT_EQ(merge_failure(), MessageId::kOriginChanged);
  job->origin.modified = 1000;
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(MergerTest, AllRefusalsOfTheDevicesAreSaidAtOnce) {
  job = scene->job(directory);
  job->origin.read_only = true;
  job->origin.mount_points = {"/mnt"};
  try {
    merge();
    FAIL() << "merged";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kReadOnly);
    EXPECT_NE(error.next().find("also EXM-502"), std::string::npos) << error.next();
  }
}

TEST_F(MergerTest, ADataDeviceSmallerThanThePoolSaysIsAWrongDeviceAndNoDamage) {
  MetadataBuilder pool(256);
  pool.add_device(1, pool.add_tree({{0, 4}}));
  pool.finish();
  pool.superblock().data_space_map_root.nr_blocks.set(7);  // the scene's data disk has 6
  pool.fix_checksum(0);
  const auto metadata = std::make_shared<SimulatedDisk>(world, "/images/metadata", pool.image());
  job = scene->job(directory);
  const auto open = custody_of(*job).on_open;
  custody_of(*job).on_open = [&, open](const DeviceFacts& facts, OpenMode mode,
                                       Bytes ends) -> std::shared_ptr<BlockDevice> {
    if (facts.path == "/images/metadata") return metadata;
    return open(facts, mode, ends);
  };
  EXPECT_EQ(merge_failure(), MessageId::kDataDeviceTooSmall);
}

TEST_F(MergerTest, AFailedExtensionLeavesNoJournalInTheWay) {
  SceneShape shape = plain_shape();
  shape.origin_size = 7 * kBlock;
  set_up(shape);
  options.beyond_origin = BeyondOriginChoice::kExtend;
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kResize)
      world.fail_at(world.operations(), {.error_number = EFBIG});
  });
  merge_failure();
  world.on_operation({});
  EXPECT_FALSE(directory->has_file("journal"));
  options.beyond_origin = BeyondOriginChoice::kDrop;
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(MergerTest, AStopIsResumable) {
  std::stop_source stop;
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kWrite && op.object == scene->origin().name())
      stop.request_stop();
  });
  EXPECT_EQ(
      failure([&] { merger(stop.get_token()).merge([](const PlanReport&) { return true; }); }),
      MessageId::kStopped);
  world.on_operation({});
  EXPECT_FALSE(scene->origin().dirty());
  EXPECT_EQ(merger().resume().state, JournalState::kDone);
  expect_merged();
}

TEST_F(MergerTest, AStopWhilePlanningWritesNothing) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(failure([&] { merger(stop.get_token()).plan(); }), MessageId::kStopped);
  EXPECT_TRUE(directory->names().empty());
}

TEST_F(MergerTest, AFullVerifyFindsAWriteThatTheDeviceLost) {
  // Another program writes to the origin after the copy and before the end.
  options.verify = VerifyChoice::kFull;
  bool spoilt = false;
  const std::vector<std::byte> junk(512, std::byte{0x77});
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kRead && progress.phase == Phase::kVerifying && !spoilt) {
      spoilt = true;
      scene->origin().overwrite(Bytes(4 * kBlock + 1024), junk);
    }
  });
  EXPECT_EQ(merge_failure(), MessageId::kDiffers);
  EXPECT_TRUE(spoilt);
  // The next run restarts from the beginning and repairs the origin.
  world.on_operation({});
  const MergeReport report = merge();
  EXPECT_EQ(report.resumed_from, Bytes(0));
  expect_merged();
}

TEST_F(MergerTest, VerifyTellsEqualFromDifferent) {
  EXPECT_TRUE(merger().verify().result.first_difference.has_value());
  merge();
  const VerifyReport equal = merger().verify();
  EXPECT_EQ(equal.result.first_difference, std::nullopt);
  EXPECT_EQ(equal.result.bytes_compared, Bytes(6 * kBlock));
  const std::vector<std::byte> junk(512, std::byte{0x77});
  scene->origin().overwrite(Bytes(6 * kBlock + 4096), junk);
  const VerifyReport different = merger().verify();
  EXPECT_EQ(different.result.first_difference, Bytes(6 * kBlock + 4096));
  EXPECT_EQ(different.result.bytes_different, Bytes(4096));
  // Bytes outside the plan are not compared: they are the origin's own.
  const auto expected = scene->expected_origin();
  scene->origin().overwrite(Bytes(6 * kBlock + 4096),
                            std::span(expected).subspan(6 * kBlock + 4096, 512));
  scene->origin().overwrite(Bytes(2 * kBlock), junk);
  EXPECT_EQ(merger().verify().result.first_difference, std::nullopt);
}

TEST_F(MergerTest, DataPastTheOriginsEndIsRefusedAndDroppedOnlyIfAsked) {
  SceneShape shape = plain_shape();
  shape.origin_size = 7 * kBlock;
  set_up(shape);
  const auto before = scene->origin().contents();
  EXPECT_EQ(merge_failure(), MessageId::kBeyondOrigin);
  expect_untouched(before);
  options.beyond_origin = BeyondOriginChoice::kDrop;
  merge();
  expect_merged();
}

TEST_F(MergerTest, MappedZeroesPastTheOriginsEndAreNoDataLoss) {
  SceneShape shape = plain_shape();
  shape.origin_size = 7 * kBlock;
  set_up(shape);
  const std::vector<std::byte> zeroes(kBlock);
  scene->data().overwrite(Bytes(1 * kBlock), zeroes);
  scene->data().overwrite(Bytes(3 * kBlock), zeroes);
  const MergeReport report = merge();
  EXPECT_EQ(report.plan.summary.beyond_origin_bytes, Bytes(2 * kBlock));
  EXPECT_EQ(first_difference(scene->origin().contents(), scene->expected_origin()), "");
}

TEST_F(MergerTest, OneByteOfDataPastTheEndIsEnoughToRefuse) {
  SceneShape shape = plain_shape();
  shape.origin_size = 11 * kBlock + 1024;
  set_up(shape);
  std::vector<std::byte> block(kBlock - 1024);
  block.back() = std::byte{1};
  scene->data().overwrite(Bytes(3 * kBlock + 1024), block);
  EXPECT_EQ(merge_failure(), MessageId::kBeyondOrigin);
  block.back() = std::byte{0};
  scene->data().overwrite(Bytes(3 * kBlock + 1024), block);
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(MergerTest, ANewRoundIsRefusedIfTheOriginWasWrittenSinceTheLastOne) {
  merge();
  // The snapshot was written since, so the plan is another one.
  job = scene->job(directory);
  job->thin_size = Bytes(15 * kBlock);
  const std::vector<std::byte> junk(512, std::byte{0x77});
  scene->origin().overwrite(Bytes(1024), junk);
  EXPECT_EQ(merge_failure(), MessageId::kOriginChanged);
  options.again = true;
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(MergerTest, ANewRoundOverAnUntouchedOriginNeedsNoOverride) {
  merge();
  job = scene->job(directory);
  job->thin_size = Bytes(15 * kBlock);
  EXPECT_EQ(merge().state, JournalState::kDone);
}

// A named source is planned before its freeze and with it.
TEST_F(MergerTest, PlansInARowAreOneReadingOfTheMetadata) {
  merger().plan();
  EXPECT_EQ(progress.mappings_read, 6u);
  merge();
  EXPECT_EQ(progress.mappings_read, 12u);
  options.again = true;
  merge();
  EXPECT_EQ(progress.mappings_read, 6u);
}

}  // namespace
}  // namespace extmerge
