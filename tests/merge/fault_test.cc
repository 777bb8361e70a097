// SPDX-License-Identifier: GPL-3.0-or-later
//
// The whole program on simulated disks, and the power cut at every single
// operation of it that changes anything: writes, flushes, renames, the
// journal's too (a cut at a read leaves what a cut at the next change leaves;
// one scenario tries that as well). After each cut
// the snapshot's view must be what it was; run again, the merge must end with
// the right bytes; and when it says that it is done, a power cut must not take
// that back.

#include <gtest/gtest.h>

#include <algorithm>

#include "merge/merger.h"
#include "tests/support/merge_scene.h"

namespace extmerge {
namespace {

MergeOptions quick_options() {
  MergeOptions options;
  options.pipeline.buffer_size = Bytes(128 << 10);
  options.pipeline.io_size = Bytes(64 << 10);
  options.pipeline.threads = 2;
  options.pipeline.checkpoint_bytes = Bytes(128 << 10);
  return options;
}

struct Scenario {
  const char* name;
  SceneShape shape;
  BeyondOriginChoice beyond = BeyondOriginChoice::kRefuse;
  CompareMode compare = CompareMode::kAuto;
  uint64_t grown_to = 0;  // the origin's size afterwards, if it grows
  bool cut_at_reads = false;
};

bool changes_something(const Operation& operation) {
  return operation.kind != OperationKind::kRead && operation.kind != OperationKind::kFileRead &&
         operation.kind != OperationKind::kOpen;
}

Scenario whole_blocks() {
  SceneShape shape;
  shape.thin_size = shape.origin_size = 12 * 65536;
  shape.mappings = {{0, 4}, {1, 5}, {4, 0}, {6, 2}, {7, 1}, {11, 3}};
  shape.percent_equal = 40;
  return {"whole blocks", shape};
}

Scenario tail() {
  SceneShape shape;
  shape.origin_size = 6 * 65536 + 3 * 512;
  shape.thin_size = 10 * 65536;
  shape.mappings = {{0, 1}, {5, 0}, {6, 3}, {8, 2}};
  return {"tail", shape, BeyondOriginChoice::kDrop, CompareMode::kNever, 0, true};
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

struct Attempt {
  bool done = false;
  MessageId failed_with{};
  std::string words;
};

class Rig {
 public:
  explicit Rig(const Scenario& scenario)
      : scenario_(scenario),
        scene(world, scenario.shape),
        directory(std::make_shared<SimulatedDirectory>(world)) {}

  Attempt merge() {
    MergeOptions options = quick_options();
    options.beyond_origin = scenario_.beyond;
    options.pipeline.compare = scenario_.compare;
    Progress progress;
    Attempt attempt;
    try {
      Merger merger(scene.target(directory), options, progress, {});
      attempt.done =
          merger.merge([](const PlanReport&) { return true; }).state == JournalState::kDone;
    } catch (const Error& error) {
      attempt.failed_with = error.id();
      attempt.words = error.what();
    }
    return attempt;
  }

  // The power goes at the `index`th operation that counts.
  void cut_power_at(uint64_t index) {
    world.on_operation([this, index, seen = uint64_t{0}](const Operation& operation) mutable {
      if (!scenario_.cut_at_reads && !changes_something(operation)) return;
      if (seen++ == index) world.cut_power_at(world.operations());
    });
  }

  // Runs after a cut are not cut again.
  void restart(Survivors survivors, uint64_t seed) {
    world.on_operation({});
    world.restart(survivors, seed);
  }

  void expect_unharmed(const std::string& where) {
    EXPECT_EQ(first_difference(scene.snapshot_view(), scene.first_view()), "") << where;
    EXPECT_EQ(scene.damage(), "") << where;
  }

  void expect_merged(const std::string& where) {
    const auto expected =
        scenario_.grown_to ? scene.expected_origin(scenario_.grown_to) : scene.expected_origin();
    EXPECT_EQ(first_difference(scene.origin().contents(), expected), "") << where;
    expect_unharmed(where);
  }

  // Runs again after a cut until it is done, and says what it came to.
  void finish(const std::string& where) {
    const Attempt again = merge();
    // Only a merge that had already recorded DONE may refuse to go on.
    if (!again.done) {
      EXPECT_EQ(again.failed_with, MessageId::kAlreadyDone) << where << ": " << again.words;
    }
    world.restart(Survivors::kNone, 1);
    expect_merged(where + ", finished and cut off");
  }

 private:
  const Scenario scenario_;

 public:
  SimulatedWorld world;
  MergeScene scene;
  std::shared_ptr<SimulatedDirectory> directory;
};

constexpr Survivors kAllSurvivors[] = {Survivors::kNone, Survivors::kAll, Survivors::kPrefix,
                                       Survivors::kRandom};

class Crash : public testing::TestWithParam<Scenario (*)()> {};

TEST_P(Crash, AtAnyOperationKeepsTheViewAndIsMendedByRunningAgain) {
  const Scenario scenario = GetParam()();
  uint64_t cuts = 0;
  for (const Survivors survivors : kAllSurvivors) {
    for (uint64_t index = 0;; ++index) {
      Rig rig(scenario);
      const std::string where = std::string(scenario.name) + ", cut at operation " +
                                std::to_string(index) + ", survivors " +
                                std::to_string(static_cast<int>(survivors));
      rig.cut_power_at(index);
      const Attempt first = rig.merge();
      const bool cut = rig.world.power_is_cut();
      EXPECT_TRUE(cut || first.done) << where << ": " << first.words;
      rig.restart(survivors, index);
      rig.expect_unharmed(where);
      if (first.done) rig.expect_merged(where + ", said to be done");
      rig.finish(where);
      if (!cut || HasFailure()) break;
      ++cuts;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(cuts, 4 * 15u) << "a whole merge changes something more often than that";
  RecordProperty("cuts", static_cast<int>(cuts));
}

TEST_P(Crash, DuringAResumeIsMendedTheSameWay) {
  const Scenario scenario = GetParam()();
  // Where a whole merge ends tells where cuts are worth it.
  Rig whole(scenario);
  ASSERT_TRUE(whole.merge().done);
  const uint64_t operations = whole.world.operations();

  SimulatedRandom random(7);
  for (uint64_t round = 0; round < 40; ++round) {
    Rig rig(scenario);
    std::string where = scenario.name;
    for (int crash = 0; crash < 3; ++crash) {
      const uint64_t index = random() % operations;
      where += ", cut at " + std::to_string(index);
      rig.world.cut_power_at(index);
      rig.merge();
      rig.world.restart(kAllSurvivors[random() % 4], random());
      rig.expect_unharmed(where);
    }
    rig.finish(where);
    if (HasFailure()) return;
  }
}

// The scenario's name as GoogleTest takes it: letters, digits and underscores.
std::string test_name(const testing::TestParamInfo<Scenario (*)()>& info) {
  std::string name = info.param().name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Crash,
                         testing::Values(whole_blocks, tail, large_blocks, growing), test_name);

class Faults : public testing::TestWithParam<Scenario (*)()> {};

TEST_P(Faults, AtAnyOperationEndInAnErrorOrTheRightBytesAndNeverInAFalseDone) {
  const Scenario scenario = GetParam()();
  struct Kind {
    const char* name;
    Fault fault;
  };
  const Kind kinds[] = {
      {"EIO", {.kind = Fault::Kind::kError, .error_number = EIO}},
      {"EIO for ever", {.kind = Fault::Kind::kError, .error_number = EIO, .for_ever = true}},
      {"ENOSPC", {.kind = Fault::Kind::kError, .error_number = ENOSPC}},
      {"short", {.kind = Fault::Kind::kShort, .error_number = EIO}},
      {"EINTR", {.kind = Fault::Kind::kError, .error_number = EINTR}},
  };
  uint64_t faults = 0, survived = 0;
  for (const Kind& kind : kinds) {
    for (uint64_t index = 0;; ++index) {
      Rig rig(scenario);
      const std::string where =
          std::string(scenario.name) + ", " + kind.name + " at operation " + std::to_string(index);
      rig.world.fail_at(index, kind.fault);
      const Attempt first = rig.merge();
      const bool reached = rig.world.operations() > index;
      rig.expect_unharmed(where);
      rig.world.restart(Survivors::kNone, index);
      rig.expect_unharmed(where + ", cut off");
      if (first.done) {
        rig.expect_merged(where + ", said to be done");
        ++survived;
      } else {
        EXPECT_NE(first.failed_with, MessageId::kInternal) << where << ": " << first.words;
      }
      rig.finish(where);
      if (!reached || HasFailure()) break;
      ++faults;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(faults, 5 * 50u);
  EXPECT_GT(survived, 0u) << "short transfers and interruptions are carried on with";
  RecordProperty("faults", static_cast<int>(faults));
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Faults, testing::Values(whole_blocks, tail), test_name);

}  // namespace
}  // namespace extmerge
