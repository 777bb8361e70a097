// SPDX-License-Identifier: GPL-3.0-or-later
//
// Every single operation of the whole program on simulated disks fails, in every possible way, once
// or for ever. The program must end in an error or with the right bytes, and never with a false
// "done". Run again without the fault, it must finish.

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/merge/crash_rig.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

struct Kind {
  const char* name;
  Fault::Kind kind;
  int error_number;
};
// A flush fails with any of these. Requests get EAGAIN and EINTR in the same way as EIO.
constexpr Kind kKinds[] = {
    {"EIO", Fault::Kind::kError, EIO},       {"ENOSPC", Fault::Kind::kError, ENOSPC},
    {"short", Fault::Kind::kShort, EIO},     {"EPERM", Fault::Kind::kError, EPERM},
    {"EAGAIN", Fault::Kind::kError, EAGAIN}, {"EINTR", Fault::Kind::kError, EINTR},
};

class Faults : public testing::TestWithParam<Scenario (*)()> {};

TEST_P(Faults, AtAnyOperationEndInAnErrorOrTheRightBytesAndNeverInAFalseDone) {
  const Scenario scenario = GetParam()();
  CrashRig rig(scenario);
  const SimulatedWorld::Saved first = rig.world.save();
  uint64_t faults = 0, survived = 0;
  for (const Kind& kind : kKinds) {
    for (const bool for_ever : {false, true}) {
      for (uint64_t index = 0;; index += kStride) {
        rig.world.put_back(first);
        rig.world.restart(Survivors::kNone, 1);
        const std::string where = std::string(scenario.name) + ", " + kind.name +
                                  (for_ever ? " for ever" : "") + " at operation " +
                                  std::to_string(index);
        rig.world.fail_at(
            index, {.kind = kind.kind, .error_number = kind.error_number, .for_ever = for_ever});
        const Attempt attempt = rig.run();
        const bool reached = rig.world.operations() > index;
        rig.expect_unharmed(where);
        rig.world.restart(Survivors::kNone, index);
        rig.expect_unharmed(where + ", cut off");
        if (attempt.done) {
          rig.expect_done(where + ", said to be done");
          ++survived;
        } else {
          EXPECT_NE(attempt.failed_with, MessageId::kInternal) << where << ": " << attempt.words;
        }
        rig.finish(where);
        if (HasFailure()) return;
        if (!reached) break;
        ++faults;
      }
    }
  }
  EXPECT_GT(faults * kStride, 12 * 50u);
  EXPECT_GT(survived, 0u) << "short transfers and interruptions are carried on with";
  RecordProperty("faults", static_cast<int>(faults));
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Faults,
                         testing::Values(whole_blocks, whole_blocks_of_4096, tail, large_blocks,
                                         growing, verified, saved, saved_large_blocks,
                                         saved_and_growing, undone, undone_and_growing,
                                         undone_half),
                         test_name);

}  // namespace
}  // namespace extmerge
