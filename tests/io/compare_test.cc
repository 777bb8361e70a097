// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/compare.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace extmerge {
namespace {

using Memory = std::vector<std::byte>;
using Ranges = std::vector<ByteRange>;

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

}  // namespace
}  // namespace extmerge
