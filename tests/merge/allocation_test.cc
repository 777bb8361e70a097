// SPDX-License-Identifier: GPL-3.0-or-later
//
// Each allocation of the program fails, once or for ever, while it plans, merges, resumes and
// undoes on simulated disks. The program must end in an error or with the right bytes. Run again
// with memory, it must finish.
//
// This test is a program of its own, since it replaces operator new. The simulated disks'
// allocations fail as well, like those of a library.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/merge/crash_rig.h"
#include "tests/support/stride.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<uint64_t> allocations{0};
std::atomic<uint64_t> failing_from{UINT64_MAX};
std::atomic<uint64_t> failing_to{UINT64_MAX};

void* allocate(size_t size) {
  if (counting) {
    const uint64_t number = allocations++;
    if (number >= failing_from && number < failing_to) throw std::bad_alloc();
  }
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t size) { return allocate(size); }
void* operator new[](size_t size) { return allocate(size); }
// A library may have this one, and give back with the plain operator delete.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  try {
    return allocate(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace extmerge {
namespace {

enum class Deed { kPlan, kMerge, kResume, kUndo };

class Allocation : public testing::TestWithParam<Deed> {
 protected:
  Attempt attempt() {
    try {
      return GetParam() == Deed::kPlan ? rig.plan() : rig.run();
    } catch (const std::bad_alloc&) {
      return {false, MessageId::kNoMemory, "out of memory"};
    }
  }
  Attempt attempt_without(uint64_t from, uint64_t to) {
    failing_from = from;
    failing_to = to;
    allocations = 0;
    counting = true;
    Attempt result = attempt();
    counting = false;
    return result;
  }
  void start_over() {
    rig.world.put_back(first);
    rig.world.restart(Survivors::kNone, 1);
  }

  CrashRig rig{GetParam() == Deed::kUndo ? undone() : saved()};
  SimulatedWorld::Saved first = [this] {
    if (GetParam() == Deed::kResume) {
      rig.world.cut_power_at(150);
      EXPECT_FALSE(rig.merge().done);
      rig.world.restart(Survivors::kRandom, 1);
    }
    return rig.world.save();
  }();
};

TEST_P(Allocation, ThatFailsEndsInAnErrorOrTheRightBytes) {
  uint64_t failures = 0;
  for (const bool for_ever : {false, true}) {
    for (uint64_t index = 0;; index += kStride) {
      start_over();
      const std::string where =
          "allocation " + std::to_string(index) + (for_ever ? " and all after it" : "");
      const Attempt result = attempt_without(index, for_ever ? UINT64_MAX : index + 1);
      const bool reached = allocations > index;
      rig.world.restart(Survivors::kNone, index);
      rig.expect_unharmed(where);
      if (!result.done) {
        EXPECT_TRUE(reached) << where << ": " << result.words;
        EXPECT_NE(result.failed_with, MessageId::kInternal) << where << ": " << result.words;
      } else if (GetParam() != Deed::kPlan) {
        rig.expect_done(where + ", said to be done");
      }
      rig.finish(where);
      if (HasFailure()) return;
      if (!reached) break;
      ++failures;
    }
  }
  EXPECT_GT(failures * kStride, 100u);
  RecordProperty("failed_allocations", static_cast<int>(failures));
}

std::string deed_name(const testing::TestParamInfo<Deed>& info) {
  const char* const names[] = {"plan", "merge", "resume", "undo"};
  return names[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Deeds, Allocation,
                         testing::Values(Deed::kPlan, Deed::kMerge, Deed::kResume, Deed::kUndo),
                         deed_name);

}  // namespace
}  // namespace extmerge
