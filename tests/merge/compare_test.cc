// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/compare.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace extmerge {
namespace {

using Memory = std::vector<std::byte>;
using Ranges = std::vector<ByteRange>;

constexpr uint64_t kMiB = 1 << 20;

Memory changed(Memory memory, std::initializer_list<size_t> places) {
  for (const size_t place : places) memory[place] ^= std::byte(1);
  return memory;
}

Ranges differences(const Memory& a, const Memory& b, uint64_t offset = 0, size_t gap = kJoinedGap) {
  Ranges found;
  find_differences(a, b, Bytes(offset), kCompareUnit, gap, found);
  return found;
}

TEST(Compare, EqualMemoriesHaveNoDifferences) {
  const Memory memory(100000, std::byte(7));
  EXPECT_EQ(differences(memory, memory), Ranges());
  EXPECT_EQ(differences({}, {}), Ranges());
}

TEST(Compare, OneByteIsWidenedToItsUnit) {
  const Memory memory(64 << 10);
  EXPECT_EQ(differences(memory, changed(memory, {8191})), (Ranges{{4096, 8192}}));
  EXPECT_EQ(differences(memory, changed(memory, {8192})), (Ranges{{8192, 12288}}));
}

TEST(Compare, UnitsLieOnTheOriginsGridNotOnTheMemorys) {
  const Memory memory(16 << 10);
  // Byte 0 is the origin's 512, so the first unit is 3,584 bytes long.
  EXPECT_EQ(differences(memory, changed(memory, {3583}), 512), (Ranges{{0, 3584}}));
  EXPECT_EQ(differences(memory, changed(memory, {3584}), 512), (Ranges{{3584, 7680}}));
}

TEST(Compare, TheLastUnitEndsWithTheMemory) {
  const Memory memory(4096 + 512);
  EXPECT_EQ(differences(memory, changed(memory, {4096})), (Ranges{{4096, 4608}}));
}

TEST(Compare, AGapOfOneUnitIsWrittenAlongAndALongerOneIsNot) {
  const Memory memory(64 << 10);
  EXPECT_EQ(differences(memory, changed(memory, {0, 8192})), (Ranges{{0, 12288}}));
  EXPECT_EQ(differences(memory, changed(memory, {0, 12288})), (Ranges{{0, 4096}, {12288, 16384}}));
  EXPECT_EQ(differences(memory, changed(memory, {0, 8192}), 0, 0),
            (Ranges{{0, 4096}, {8192, 12288}}));
}

TEST(Compare, WhatWasFoundBeforeStaysAndIsNotJoined) {
  const Memory memory(4096);
  Ranges found = {{0, 4096}};
  find_differences(memory, changed(memory, {0}), Bytes(0), kCompareUnit, kJoinedGap, found);
  EXPECT_EQ(found, (Ranges{{0, 4096}, {0, 4096}}));
}

RC_GTEST_PROP(Compare, ExactlyTheUnitsThatDifferAndTheGapsBetweenThem, ()) {
  const auto size = *rc::gen::inRange<size_t>(1, 40) * 1000;
  const auto offset = *rc::gen::inRange<uint64_t>(0, 20) * 512;
  const auto gap = *rc::gen::element<size_t>(0, 4096, 16384);
  Memory a(size);
  Memory b(size);
  for (const auto place :
       *rc::gen::container<std::vector<size_t>>(rc::gen::inRange<size_t>(0, size)))
    b[place] = std::byte(1);

  std::vector<bool> dirty(size);
  for (size_t i = 0; i < size; ++i) {
    if (a[i] == b[i]) continue;
    for (size_t j = 0; j < size; ++j) {
      if ((offset + j) / kCompareUnit == (offset + i) / kCompareUnit) dirty[j] = true;
    }
  }
  Ranges expected;
  for (size_t i = 0; i < size; ++i) {
    if (!dirty[i]) continue;
    const bool joins = !expected.empty() && i - expected.back().end <= gap;
    if (!joins) expected.push_back({i, i});
    expected.back().end = i + 1;
  }
  RC_ASSERT(differences(a, b, offset, gap) == expected);
}

// Takes `length` bytes in pieces of 1 MiB of which `different` in a hundred
// differ, each outcome known at once; returns the bytes compared.
uint64_t run(CompareGovernor& governor, uint64_t length, unsigned different) {
  uint64_t compared = 0;
  for (uint64_t at = 0; at < length; at += kMiB) {
    if (!governor.should_compare(Bytes(kMiB))) continue;
    governor.compared(Bytes(kMiB), Bytes(kMiB / 100 * different));
    compared += kMiB;
  }
  return compared;
}

TEST(CompareGovernor, ComparesEverythingAsLongAsATenthIsEqual) {
  CompareGovernor governor;
  EXPECT_EQ(run(governor, 1024 * kMiB, 90), 1024 * kMiB);
}

TEST(CompareGovernor, StopsAfterEightMiBThatDifferAndProbesWithALongerPauseEachTime) {
  CompareGovernor governor;
  EXPECT_EQ(run(governor, 8 * kMiB, 100), 8 * kMiB);
  // Pauses of 64, 128, 256, 512, 512 MiB, one piece of 1 MiB after each.
  for (const uint64_t pause : {64u, 128u, 256u, 512u, 512u}) {
    EXPECT_EQ(run(governor, pause * kMiB, 100), 0) << pause;
    EXPECT_EQ(run(governor, kMiB, 100), kMiB) << pause;
  }
}

TEST(CompareGovernor, AProbeThatFindsEqualityStartsComparingAgainAndForgetsThePauses) {
  CompareGovernor governor;
  run(governor, (8 + 64 + 1 + 128) * kMiB, 100);
  // The probe, and twelve windows.
  EXPECT_EQ(run(governor, (1 + 96) * kMiB, 10), (1 + 96) * kMiB);
  EXPECT_EQ(run(governor, 8 * kMiB, 100), 8 * kMiB);
  EXPECT_EQ(run(governor, 64 * kMiB, 100), 0) << "the first pause again";
  EXPECT_EQ(run(governor, kMiB, 100), kMiB);
}

TEST(CompareGovernor, OnlyOneProbeIsUnderWay) {
  CompareGovernor governor;
  run(governor, (8 + 64) * kMiB, 100);
  EXPECT_TRUE(governor.should_compare(Bytes(kMiB)));
  EXPECT_FALSE(governor.should_compare(Bytes(kMiB)));
  governor.compared(Bytes(kMiB), Bytes(0));
  EXPECT_TRUE(governor.should_compare(Bytes(kMiB)));
}

TEST(CompareGovernor, OutcomesFromBeforeAPauseDoNotEndIt) {
  CompareGovernor governor;
  for (int i = 0; i < 12; ++i) EXPECT_TRUE(governor.should_compare(Bytes(kMiB)));
  for (int i = 0; i < 8; ++i) governor.compared(Bytes(kMiB), Bytes(kMiB));
  for (int i = 0; i < 4; ++i) governor.compared(Bytes(kMiB), Bytes(0));
  EXPECT_FALSE(governor.should_compare(Bytes(kMiB)));
}

}  // namespace
}  // namespace extmerge
