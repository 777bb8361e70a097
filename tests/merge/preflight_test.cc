// SPDX-License-Identifier: GPL-3.0-or-later
//
// Tests each refusal, with its id and exit status, from facts alone. The same facts without that
// fault must pass.

#include "merge/preflight.h"

#include <gtest/gtest.h>

#include "tests/support/simulated_world.h"

namespace extmerge {
namespace {

DeviceFacts device(const std::string& path, uint64_t number, Bytes size = Bytes(64 << 20)) {
  DeviceFacts facts;
  facts.path = path;
  facts.exists = facts.is_block = true;
  facts.device_number = number;
  facts.inode = number;
  facts.size = size;
  facts.underlying = {number};
  facts.identity = "device:" + path;
  return facts;
}

DeviceFacts image(const std::string& path, uint64_t inode, Bytes size = Bytes(64 << 20)) {
  DeviceFacts facts;
  facts.path = path;
  facts.exists = facts.is_regular = true;
  facts.file_system = 9;
  facts.inode = inode;
  facts.size = size;
  facts.underlying = {9};
  facts.underlying_files = {{9, inode}};
  return facts;
}

Job fit_target() {
  Job job;
  job.metadata = device("/dev/meta", 1);
  job.data = device("/dev/data", 2);
  job.origin = device("/dev/origin", 3);
  job.thin_id = ThinId{1};
  job.thin_size = Bytes(64 << 20);
  job.journal.path = "/state/x.journal";
  return job;
}

PlanFacts fit_facts() {
  PlanFacts facts;
  facts.summary.end_of_copy = Bytes(64 << 20);
  return facts;
}

std::vector<Error> devices_refused(const Job& job,
                                   BeyondOriginChoice beyond = BeyondOriginChoice::kRefuse) {
  return refuse_devices(job, beyond, Purpose::kMerge);
}

std::vector<Error> plan_refused(const PlanFacts& facts, const Job& job,
                                const Overrides& overrides = {},
                                BeyondOriginChoice beyond = BeyondOriginChoice::kRefuse) {
  return refuse_plan(facts, job, beyond, overrides, Purpose::kMerge);
}

void expect_only(const std::vector<Error>& refusals, MessageId id, int exit_status) {
  ASSERT_EQ(refusals.size(), 1u);
  EXPECT_EQ(refusals[0].id(), id) << refusals[0].what();
  EXPECT_EQ(refusals[0].exit_status(), exit_status);
  EXPECT_NE(refusals[0].next(), "");
}

TEST(Preflight, FitDevicesAndAFitPlanAreNotRefused) {
  EXPECT_TRUE(devices_refused(fit_target()).empty());
  EXPECT_TRUE(plan_refused(fit_facts(), fit_target()).empty());
}

TEST(Preflight, AMissingDeviceIsNamedByItsRole) {
  Job job = fit_target();
  job.data.exists = job.data.is_block = false;
  const auto refusals = devices_refused(job);
  expect_only(refusals, MessageId::kNotFound, 4);
  EXPECT_NE(std::string(refusals[0].what()).find("data device"), std::string::npos);
}

TEST(Preflight, ADirectoryIsNoDevice) {
  Job job = fit_target();
  job.metadata.is_block = false;
  expect_only(devices_refused(job), MessageId::kNotADevice, 4);
}

TEST(Preflight, AnEmptyDeviceIsNamedByItsRole) {
  for (DeviceFacts Job::*device : {&Job::metadata, &Job::data, &Job::origin}) {
    Job job = fit_target();
    (job.*device).size = Bytes(0);
    expect_only(devices_refused(job), MessageId::kNotADevice, 4);
  }
}

TEST(Preflight, MetadataAndDataMustBeDifferentDevices) {
  Job job = fit_target();
  job.data = job.metadata;
  expect_only(devices_refused(job), MessageId::kSameDevice, 4);
}

TEST(Preflight, TheOriginMustNotBeThePoolsDataDevice) {
  Job job = fit_target();
  job.origin = job.data;
  expect_only(devices_refused(job), MessageId::kStacked, 4);
}

TEST(Preflight, TheOriginMustNotLieUnderThePoolsMetadata) {
  Job job = fit_target();
  job.metadata.underlying.push_back(job.origin.device_number);
  expect_only(devices_refused(job), MessageId::kStacked, 4);
}

TEST(Preflight, TheOriginMustNotLieOverThePoolsData) {
  Job job = fit_target();
  job.origin.underlying.push_back(job.data.device_number);
  expect_only(devices_refused(job), MessageId::kStacked, 4);
}

TEST(Preflight, AHardLinkToTheDataImageIsNoOrigin) {
  Job job = fit_target();
  job.metadata = image("/a/meta.img", 1);
  job.data = image("/a/data.img", 2);
  job.origin = image("/b/other-name.img", 2);
  expect_only(devices_refused(job), MessageId::kStacked, 4);
}

TEST(Preflight, AnOriginOfNoWholeSectorsIsRefused) {
  for (const uint64_t size : {uint64_t{511}, uint64_t{(64 << 20) + 1}}) {
    Job job = fit_target();
    job.origin.size = Bytes(size);
    expect_only(devices_refused(job), MessageId::kOddSize, 4);
  }
}

TEST(Preflight, AThinSizeOfNoWholeSectorsIsRefused) {
  Job job = fit_target();
  job.thin_size = Bytes(1000);
  expect_only(devices_refused(job), MessageId::kUsage, 1);
}

TEST(Preflight, AReadOnlyOriginIsRefusedAlthoughOpeningItWouldSucceed) {
  Job job = fit_target();
  job.origin.read_only = true;
  expect_only(devices_refused(job), MessageId::kReadOnly, 4);
}

TEST(Preflight, AMountedOriginIsRefusedWithItsMountPoint) {
  Job job = fit_target();
  job.origin.mount_points = {"/srv/images"};
  const auto refusals = devices_refused(job);
  expect_only(refusals, MessageId::kMounted, 5);
  EXPECT_NE(std::string(refusals[0].what()).find("/srv/images"), std::string::npos);
}

TEST(Preflight, SwapIsInUse) {
  Job job = fit_target();
  job.origin.is_swap = true;
  expect_only(devices_refused(job), MessageId::kInUse, 5);
}

TEST(Preflight, TheLiveTreeIsNotReadUnderAnActivePool) {
  Job job = fit_target();
  job.metadata.holders = {{"dm-1 (pool)", 99}};
  EXPECT_TRUE(devices_refused(job).empty());
  job.root_choice = RootChoice::kLive;
  expect_only(devices_refused(job), MessageId::kPoolActive, 5);
}

TEST(Preflight, ADeviceCannotBeExtendedButAnImageCan) {
  Job job = fit_target();
  job.thin_size = Bytes(128 << 20);
  expect_only(devices_refused(job, BeyondOriginChoice::kExtend), MessageId::kCannotExtend, 4);
  job.origin = image("/a/origin.img", 7);
  EXPECT_TRUE(devices_refused(job, BeyondOriginChoice::kExtend).empty());
}

TEST(Preflight, ExtendingNeedsTheThinsSize) {
  Job job = fit_target();
  job.thin_size.reset();
  expect_only(devices_refused(job, BeyondOriginChoice::kExtend), MessageId::kExtendNeedsThinSize,
              1);
}

TEST(Preflight, AJournalOnTheOriginOrInThePoolIsRefused) {
  Job job = fit_target();
  job.journal.file_system = {3, 50};
  expect_only(devices_refused(job), MessageId::kJournalOnOrigin, 6);
  job.journal.file_system = {60, 2};
  expect_only(devices_refused(job), MessageId::kJournalOnOrigin, 6);
}

// A job whose journal lies on a thin of the pool: on the numbers of the thin, the pool, its
// metadata and data.
Job with_journal_on(const ThinBelow& thin) {
  Job job = fit_target();
  job.journal.file_system = {40, 41, 1, 2};
  job.journal.thins = {thin};
  return job;
}

TEST(Preflight, AJournalOnAnotherThinOfThePoolIsANote) {
  const Job job = with_journal_on({"vg-root", ThinId{7}, 1});
  EXPECT_TRUE(devices_refused(job).empty());
  const auto notes = notes_for(fit_facts(), job, BeyondOriginChoice::kRefuse, {});
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("the journal /state/x.journal lies on vg-root, another thin"),
            std::string::npos);
}

TEST(Preflight, AJournalOnTheThinThatIsMergedOrOnWhatItWasFrozenFromIsRefused) {
  expect_only(devices_refused(with_journal_on({"vg-snap", ThinId{1}, 1})),
              MessageId::kJournalOnOrigin, 6);
  Job job = with_journal_on({"vg-snap", ThinId{7}, 1});
  job.frozen_from = ThinId{7};
  expect_only(devices_refused(job), MessageId::kJournalOnOrigin, 6);
}

TEST(Preflight, AJournalOnAThinOfAnotherPoolThatLiesOnThisOneIsRefused) {
  // Metadata 99 belongs to another pool, so the two numbers of this pool are there for another
  // reason.
  expect_only(devices_refused(with_journal_on({"other", ThinId{1}, 99})),
              MessageId::kJournalOnOrigin, 6);
}

TEST(Preflight, AJournalOnASiblingLiesOnItsBlocksAndOneBesideItOnTheOrigin) {
  Job job = with_journal_on({"vg-sibling", ThinId{7}, 1, 3});
  job.journal.file_system.push_back(3);
  EXPECT_TRUE(devices_refused(job).empty());
  job.journal.thins[0].origin = 0;
  expect_only(devices_refused(job), MessageId::kJournalOnOrigin, 6);
}

TEST(Preflight, AnUndoLogOnAnotherThinOfThePoolIsANoteAndOnTheMergedOneRefused) {
  Job job = fit_target();
  job.undo_log = with_journal_on({"vg-root", ThinId{7}, 1}).journal;
  job.undo_log->path = job.undo_log->name = "/root/undo";
  SimulatedWorld world;
  job.undo_log->directory = std::make_shared<SimulatedDirectory>(world);
  EXPECT_TRUE(devices_refused(job).empty());
  EXPECT_EQ(notes_for(fit_facts(), job, BeyondOriginChoice::kRefuse, {}).size(), 1u);
  job.undo_log->thins[0].id = ThinId{1};
  expect_only(devices_refused(job), MessageId::kJournalOnOrigin, 6);
}

TEST(Preflight, AJournalBesideAnImageIsFineButNotTheImageItself) {
  Job job = fit_target();
  job.origin = image("/a/origin.img", 7);
  job.journal.file_system = {9};
  job.journal.files = {{9, 8}};
  EXPECT_TRUE(devices_refused(job).empty());
  // These may be NAME, NAME.new or NAME.lock.
  job.journal.files = {{9, 8}, {9, 7}};
  expect_only(devices_refused(job), MessageId::kJournalOnOrigin, 6);
  job.data = image("/a/data.img", 5);
  job.journal.files = {{9, 5}};
  expect_only(devices_refused(job), MessageId::kJournalOnOrigin, 6);
}

TEST(Preflight, VerifyingAsksNothingAboutWriting) {
  Job job = fit_target();
  job.origin.read_only = true;
  job.origin.mount_points = {"/srv"};
  EXPECT_TRUE(refuse_devices(job, BeyondOriginChoice::kRefuse, Purpose::kVerify).empty());
}

TEST(Preflight, EveryObstacleIsReportedAtOnce) {
  Job job = fit_target();
  job.origin.read_only = true;
  job.origin.mount_points = {"/srv"};
  EXPECT_EQ(devices_refused(job).size(), 2u);
}

TEST(Preflight, APoolThatNeedsCheckIsRefused) {
  PlanFacts facts = fit_facts();
  facts.needs_check = true;
  expect_only(plan_refused(facts, fit_target()), MessageId::kNeedsCheck, 9);
}

TEST(Preflight, AThinThatChangedSinceTheSnapshotIsStaleUnlessAllowed) {
  PlanFacts facts = fit_facts();
  facts.device_changed = true;
  expect_only(plan_refused(facts, fit_target()), MessageId::kStale, 4);
  EXPECT_TRUE(plan_refused(facts, fit_target(), {.allow_stale = true}).empty());
}

TEST(Preflight, DataPastTheOriginsEndIsRefusedAndZeroesAreNot) {
  PlanFacts facts = fit_facts();
  facts.summary.beyond_origin_bytes = Bytes(4096);
  EXPECT_TRUE(plan_refused(facts, fit_target()).empty());
  facts.beyond_origin_has_data = true;
  expect_only(plan_refused(facts, fit_target()), MessageId::kBeyondOrigin, 4);
  EXPECT_TRUE(plan_refused(facts, fit_target(), {}, BeyondOriginChoice::kDrop).empty());
}

TEST(Preflight, ATailInsideALogicalBlockOfADeviceIsRefused) {
  PlanFacts facts = fit_facts();
  facts.summary.end_of_copy = Bytes((64 << 20) - 512);
  Job job = fit_target();
  EXPECT_TRUE(plan_refused(facts, job).empty());
  job.origin.logical_block_size = Bytes(4096);
  expect_only(plan_refused(facts, job), MessageId::kTailAlignment, 4);
  expect_only(refuse_plan(facts, job, BeyondOriginChoice::kRefuse, {}, Purpose::kVerify),
              MessageId::kTailAlignment, 4);
}

TEST(Preflight, AHolderThatIsNoThinIsInTheWay) {
  Job job = fit_target();
  job.origin.holders = {{"md0", 77}};
  const auto refusals = plan_refused(fit_facts(), job);
  expect_only(refusals, MessageId::kHeld, 5);
  EXPECT_NE(std::string(refusals[0].what()).find("md0"), std::string::npos);
}

Job held_by_thin(uint32_t id, bool of_this_pool) {
  Job job = fit_target();
  job.origin.holders = {{"dm-5 (thin)", 77}};
  job.origin_thins = {
      {.device_number = 77, .name = "thin", .id = ThinId{id}, .of_this_pool = of_this_pool}};
  return job;
}

TEST(Preflight, TheSourceItselfAndUnharmedSiblingsMayHoldTheOrigin) {
  EXPECT_TRUE(plan_refused(fit_facts(), held_by_thin(1, true)).empty());
  PlanFacts facts = fit_facts();
  facts.siblings = {{.id = ThinId{2}, .name = "", .harmed_blocks = 0}};
  EXPECT_TRUE(plan_refused(facts, held_by_thin(2, true)).empty());
  EXPECT_EQ(claim_mode(held_by_thin(2, true)), OpenMode::kShare);
  EXPECT_EQ(claim_mode(fit_target()), OpenMode::kClaim);
}

TEST(Preflight, AHarmedSiblingThatHoldsTheOriginIsRefusedUnlessAllowed) {
  PlanFacts facts = fit_facts();
  facts.siblings = {{.id = ThinId{2}, .name = "", .harmed_blocks = 3}};
  expect_only(plan_refused(facts, held_by_thin(2, true)), MessageId::kSharedOrigin, 4);
  EXPECT_TRUE(plan_refused(facts, held_by_thin(2, true), {.allow_shared_origin = true}).empty());
}

TEST(Preflight, AThinWhoseMappingsAreNotKnownCountsAsHarmed) {
  PlanFacts facts = fit_facts();
  facts.siblings = {{.id = ThinId{2}, .name = "", .harmed_blocks = 0}};
  expect_only(plan_refused(facts, held_by_thin(2, false)), MessageId::kSharedOrigin, 4);
  expect_only(plan_refused(facts, held_by_thin(9, true)), MessageId::kSharedOrigin, 4);
}

Sibling known_sibling(uint32_t id, const std::string& name, uint64_t harmed) {
  Sibling sibling;
  sibling.id = ThinId{id};
  sibling.name = name;
  sibling.harmed_blocks = harmed;
  sibling.certain = true;
  return sibling;
}

TEST(Preflight, AKnownSiblingThatWouldChangeIsRefusedByNameUnlessAllowed) {
  PlanFacts facts = fit_facts();
  facts.siblings = {known_sibling(2, "vg/a", 3), known_sibling(3, "vg/b", 0),
                    known_sibling(4, "vg/c", 1)};
  const auto refusals = plan_refused(facts, fit_target());
  expect_only(refusals, MessageId::kSharedOrigin, 4);
  const std::string words = refusals.front().what();
  EXPECT_NE(words.find("vg/a (3 blocks), vg/c (1 block)"), std::string::npos) << words;
  EXPECT_EQ(words.find("vg/b"), std::string::npos) << words;
  EXPECT_TRUE(plan_refused(facts, fit_target(), {.allow_shared_origin = true}).empty());
  const auto notes =
      notes_for(facts, fit_target(), BeyondOriginChoice::kRefuse, {.allow_shared_origin = true});
  EXPECT_EQ(notes.size(), 2u);
}

TEST(Preflight, AKnownSiblingWhoseMappingsAreNotKnownIsRefused) {
  PlanFacts facts = fit_facts();
  facts.siblings = {known_sibling(2, "wg/far", 6)};
  facts.siblings[0].unreadable = true;
  const auto refusals = plan_refused(facts, fit_target());
  expect_only(refusals, MessageId::kSharedOrigin, 4);
  EXPECT_NE(std::string(refusals[0].what()).find("wg/far (its mappings are not known)"),
            std::string::npos);
}

TEST(Preflight, AKnownSiblingThatHoldsTheOriginIsRefusedOnce) {
  PlanFacts facts = fit_facts();
  facts.siblings = {known_sibling(2, "vg/a", 3)};
  expect_only(plan_refused(facts, held_by_thin(2, true)), MessageId::kSharedOrigin, 4);
}

TEST(Preflight, WhatTheSourceWasFrozenFromMayHoldTheOrigin) {
  Job job = held_by_thin(9, true);
  expect_only(plan_refused(fit_facts(), job), MessageId::kSharedOrigin, 4);
  job.frozen_from = ThinId{9};
  EXPECT_TRUE(plan_refused(fit_facts(), job).empty());
  job.origin_thins[0].of_this_pool = false;
  expect_only(plan_refused(fit_facts(), job), MessageId::kSharedOrigin, 4);
}

TEST(Preflight, ThinsOfALayerBelowLeaveTheOriginFreeToBeClaimed) {
  Job job = held_by_thin(1, true);
  EXPECT_EQ(claim_mode(job), OpenMode::kShare);
  job.origin_thins[0].of_layer_below = true;
  EXPECT_EQ(claim_mode(job), OpenMode::kClaim);
  job.origin.holders.push_back({"dm-6 (thin)", 78});
  EXPECT_EQ(claim_mode(job), OpenMode::kShare);
  job.origin_thins.push_back({.device_number = 78,
                              .name = "thin2",
                              .id = ThinId{2},
                              .of_this_pool = true,
                              .of_layer_below = true});
  EXPECT_EQ(claim_mode(job), OpenMode::kClaim);
  job.origin_thins[1].of_layer_below = false;
  EXPECT_EQ(claim_mode(job), OpenMode::kShare) << "one of two is on the origin itself";
}

TEST(Preflight, APossibleSiblingIsANoteAndNoRefusal) {
  PlanFacts facts = fit_facts();
  facts.siblings = {{.id = ThinId{2}, .name = "", .harmed_blocks = 3}};
  EXPECT_TRUE(plan_refused(facts, fit_target()).empty());
  const auto notes = notes_for(facts, fit_target(), BeyondOriginChoice::kRefuse, {});
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("thin id 2 would change in 3 blocks"), std::string::npos);
}

TEST(Preflight, OfManySiblingsFiveAreNamedAndTheOthersCounted) {
  PlanFacts facts = fit_facts();
  for (uint32_t id = 2; id <= 153; ++id)
    facts.siblings.push_back({.id = ThinId{id}, .name = "", .harmed_blocks = id % 2});
  auto notes = notes_for(facts, fit_target(), BeyondOriginChoice::kRefuse, {});
  ASSERT_EQ(notes.size(), 6u);
  EXPECT_NE(notes[4].find("thin id 11 would change"), std::string::npos);
  EXPECT_EQ(notes[5],
            "71 more thins would change if they have this origin: extmerge plan -v names them");

  for (Sibling& sibling : facts.siblings) {
    sibling.name = "vg/k" + std::to_string(value(sibling.id));
    sibling.certain = true;
  }
  const auto refusals = plan_refused(facts, fit_target());
  ASSERT_EQ(refusals.size(), 1u);
  EXPECT_TRUE(std::string(refusals[0].what()).ends_with("vg/k11 (1 block) and 71 more"))
      << refusals[0].what();
  Overrides overrides;
  overrides.allow_shared_origin = true;
  notes = notes_for(facts, fit_target(), BeyondOriginChoice::kRefuse, overrides);
  ASSERT_EQ(notes.size(), 6u);
  EXPECT_EQ(notes[5], "71 more thins read this origin and change, as accepted");
}

TEST(Preflight, AnUnknownThinSizeIsSaid) {
  Job job = fit_target();
  job.thin_size.reset();
  const auto notes = notes_for(fit_facts(), job, BeyondOriginChoice::kRefuse, {});
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("data past its end is merged too"), std::string::npos);
}

}  // namespace
}  // namespace extmerge
