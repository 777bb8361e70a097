// SPDX-License-Identifier: GPL-3.0-or-later
//
// The whole program on simulated disks, for tests that cut its power or fail its I/O. It has merges
// of several shapes, and their undo.

#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "merge/merge.h"
#include "tests/support/merge_scene.h"

namespace extmerge {

struct Scenario {
  const char* name;
  SceneShape shape;
  BeyondOriginChoice beyond = BeyondOriginChoice::kRefuse;
  CompareMode compare = CompareMode::kAuto;
  uint64_t grown_to = 0;  // the origin's final size, if it grows
  VerifyChoice verify = VerifyChoice::kSample;
  bool undo_log = false;
  // With an undo log, the tested command: the merge, which is undone afterwards; the undo of a
  // finished merge; or the undo of one cut off at half of its operations.
  enum class Tried { kMerge, kUndo, kUndoOfHalf } tried = Tried::kMerge;
};

Scenario whole_blocks();
Scenario whole_blocks_of_4096();
Scenario tail();
Scenario large_blocks();
Scenario growing();
Scenario verified();
Scenario saved();
Scenario saved_large_blocks();
Scenario saved_and_growing();
Scenario undone();
Scenario undone_and_growing();
Scenario undone_half();
Scenario undone_of_4096();

// The scenario's name as GoogleTest takes it: letters, digits and underscores.
std::string test_name(const testing::TestParamInfo<Scenario (*)()>& info);

// The result of one run of the program.
struct Attempt {
  bool done = false;
  MessageId failed_with{};
  std::string words;
};

class CrashRig {
 public:
  explicit CrashRig(const Scenario& scenario);

  Attempt plan();
  Attempt merge();
  Attempt undo();
  // Runs the tested command.
  Attempt run();

  void expect_unharmed(const std::string& where);
  // Checks the conditions for a run that says it is done.
  void expect_done(const std::string& where);
  // Runs again after a cut until done, and checks the result. With an undo log, undoes the merge.
  void finish(const std::string& where);

 private:
  Attempt attempt(const std::function<bool(Merger&)>& deed);
  void expect_merged(const std::string& where);
  void expect_undone(const std::string& where);

  const Scenario scenario_;

 public:
  SimulatedWorld world;
  MergeScene scene;
  std::shared_ptr<SimulatedDirectory> directory;
};

}  // namespace extmerge
