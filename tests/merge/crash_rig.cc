// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/merge/crash_rig.h"

#include <malloc.h>
#include <sys/prctl.h>

#include <algorithm>

namespace extmerge {

namespace {

// Pieces with few transfers each, so that there are many operations to cut.
MergeOptions quick_options() {
  MergeOptions options;
  options.pipeline.buffer_size = Bytes(64 << 10);
  options.pipeline.io_size = Bytes(32 << 10);
  options.pipeline.threads = 2;
  options.pipeline.checkpoint_bytes = Bytes(128 << 10);
  return options;
}

// Keeps memory between runs instead of returning it to the kernel, which would zero pages that are
// hardly used. This halves the time of a run.
const bool kMemoryIsKept = mallopt(M_MMAP_THRESHOLD, 16 << 20) && mallopt(M_ARENA_MAX, 1) &&
                           mallopt(M_TRIM_THRESHOLD, 256 << 20) &&
                           prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0;

}  // namespace

Scenario whole_blocks() {
  SceneShape shape;
  shape.thin_size = shape.origin_size = 8 * 65536;
  shape.mappings = {{0, 3}, {1, 4}, {4, 0}, {6, 1}, {7, 2}};
  shape.percent_equal = 40;
  return {"whole blocks", shape};
}

Scenario whole_blocks_of_4096() {
  Scenario scenario = whole_blocks();
  scenario.name = "whole blocks of 4096 byte sectors";
  scenario.shape.logical_block_size = 4096;
  return scenario;
}

Scenario tail() {
  SceneShape shape;
  shape.origin_size = 6 * 65536 + 3 * 512;
  shape.thin_size = 10 * 65536;
  shape.mappings = {{0, 1}, {5, 0}, {6, 3}, {8, 2}};
  return {"tail", shape, BeyondOriginChoice::kDrop, CompareMode::kNever};
}

Scenario large_blocks() {
  SceneShape shape;
  shape.block_size = 256 << 10;  // more than a buffer
  shape.thin_size = shape.origin_size = 3 * shape.block_size;
  shape.mappings = {{0, 1}, {2, 0}};
  shape.percent_equal = 90;
  return {"large blocks", shape, BeyondOriginChoice::kRefuse, CompareMode::kAlways};
}

Scenario growing() {
  SceneShape shape;
  shape.origin_size = 2 * 65536 + 4096;
  shape.thin_size = 5 * 65536 + 8192;
  shape.mappings = {{1, 0}, {2, 1}, {5, 2}};
  return {"growing", shape, BeyondOriginChoice::kExtend, CompareMode::kAuto, *shape.thin_size};
}

Scenario verified() {
  Scenario scenario = whole_blocks();
  scenario.name = "verified in full";
  scenario.verify = VerifyChoice::kFull;
  return scenario;
}

Scenario saved() {
  Scenario scenario = whole_blocks();
  scenario.name = "with an undo log";
  scenario.undo_log = true;
  return scenario;
}

Scenario saved_large_blocks() {
  Scenario scenario = large_blocks();
  scenario.name = "large blocks with an undo log";
  scenario.compare = CompareMode::kAuto;
  scenario.undo_log = true;
  return scenario;
}

Scenario saved_and_growing() {
  Scenario scenario = growing();
  scenario.name = "growing with an undo log";
  scenario.undo_log = true;
  return scenario;
}

Scenario undone() {
  Scenario scenario = saved();
  scenario.name = "undone";
  scenario.tried = Scenario::Tried::kUndo;
  return scenario;
}

Scenario undone_and_growing() {
  Scenario scenario = saved_and_growing();
  scenario.name = "undone after growing";
  scenario.tried = Scenario::Tried::kUndo;
  return scenario;
}

Scenario undone_half() {
  Scenario scenario = saved();
  scenario.name = "half of it undone";
  scenario.tried = Scenario::Tried::kUndoOfHalf;
  return scenario;
}

Scenario undone_of_4096() {
  Scenario scenario = undone();
  scenario.name = "undone on 4096 byte sectors";
  scenario.shape.logical_block_size = 4096;
  return scenario;
}

std::string test_name(const testing::TestParamInfo<Scenario (*)()>& info) {
  std::string name = info.param().name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

CrashRig::CrashRig(const Scenario& scenario)
    : scenario_(scenario),
      scene(world, scenario.shape),
      directory(std::make_shared<SimulatedDirectory>(world)) {
  if (scenario_.tried == Scenario::Tried::kMerge) return;
  if (scenario_.tried == Scenario::Tried::kUndoOfHalf) {
    const SimulatedWorld::Saved before = world.save();
    EXPECT_TRUE(merge().done);
    const uint64_t operations = world.operations();
    world.put_back(before);
    world.restart(Survivors::kNone, 1);
    world.cut_power_at(operations * 2 / 3);
    EXPECT_FALSE(merge().done);
    world.restart(Survivors::kRandom, 1);
    EXPECT_NE(first_difference(scene.origin().contents(), scene.first_origin()), "");
  } else {
    EXPECT_TRUE(merge().done);
    world.restart(Survivors::kNone, 1);
  }
}

Attempt CrashRig::attempt(const std::function<bool(Merger&)>& deed) {
  MergeOptions options = quick_options();
  options.beyond_origin = scenario_.beyond;
  options.verify = scenario_.verify;
  options.pipeline.compare = scenario_.compare;
  Job job = scene.job(directory);
  if (scenario_.undo_log) job.undo_log = job.custody->undo_log_at("/state/undo");
  Progress progress;
  Attempt attempt;
  try {
    Merger merger(std::move(job), options, progress, {});
    attempt.done = deed(merger);
  } catch (const Error& error) {
    attempt.failed_with = error.id();
    attempt.words = error.what();
  } catch (const std::bad_alloc&) {
    attempt.failed_with = MessageId::kNoMemory;
    attempt.words = "out of memory";
  }
  return attempt;
}

Attempt CrashRig::plan() {
  return attempt([](Merger& merger) { return merger.plan().refusals.empty(); });
}

Attempt CrashRig::merge() {
  return attempt([](Merger& merger) {
    return merger.merge([](const PlanReport&) { return true; }).state == JournalState::kDone;
  });
}

Attempt CrashRig::undo() {
  return attempt([](Merger& merger) {
    merger.undo([](const UndoReport&) { return true; });
    return true;
  });
}

Attempt CrashRig::run() { return scenario_.tried == Scenario::Tried::kMerge ? merge() : undo(); }

void CrashRig::expect_unharmed(const std::string& where) {
  EXPECT_EQ(scene.view_damage(), "") << where;
  EXPECT_EQ(scene.damage(), "") << where;
}

void CrashRig::expect_merged(const std::string& where) {
  const auto expected =
      scenario_.grown_to ? scene.expected_origin(scenario_.grown_to) : scene.expected_origin();
  EXPECT_EQ(first_difference(scene.origin().contents(), expected), "") << where;
  expect_unharmed(where);
}

void CrashRig::expect_undone(const std::string& where) {
  EXPECT_EQ(first_difference(scene.origin().contents(), scene.first_origin()), "") << where;
  expect_unharmed(where);
}

void CrashRig::expect_done(const std::string& where) {
  if (scenario_.tried == Scenario::Tried::kMerge) {
    expect_merged(where);
  } else {
    expect_undone(where);
  }
}

void CrashRig::finish(const std::string& where) {
  const Attempt again = run();
  // Only a merge that has recorded DONE may refuse to resume.
  const bool is_done = again.done || (scenario_.tried == Scenario::Tried::kMerge &&
                                      again.failed_with == MessageId::kAlreadyDone);
  EXPECT_TRUE(is_done) << where << ": " << again.words;
  world.restart(Survivors::kNone, 1);
  expect_done(where + ", finished and cut off");
  if (scenario_.tried != Scenario::Tried::kMerge || !scenario_.undo_log) return;
  const Attempt taken_back = undo();
  EXPECT_TRUE(taken_back.done) << where << ": " << taken_back.words;
  expect_undone(where + ", finished and undone");
}

}  // namespace extmerge
