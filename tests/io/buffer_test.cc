// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>

#include "tests/io/scratch.h"

namespace extmerge {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

// The VmFlags line of /proc/self/smaps for the mapping that `address` is in.
std::string mapping_flags(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      inside = begin <= wanted && wanted < end;
    } else if (inside && line.starts_with("VmFlags:")) {
      return line + " ";
    }
  }
  return "";
}

TEST(Buffer, OfTwoMebibytesAndMoreIsAlignedToThatAndAdvisedToBeHuge) {
  for (const size_t size : {2 * kMiB, 2 * kMiB + 512, 5 * kMiB}) {
    const Buffer buffer(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % (2 * kMiB), 0u) << size;
    EXPECT_EQ(buffer.size(), size);
    if (std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled")) {
      EXPECT_NE(mapping_flags(buffer.data()).find(" hg "), std::string::npos) << size;
    }
  }
}

TEST(Buffer, BelowThatIsAlignedToAPage) {
  for (const size_t size : {size_t{1}, size_t{512}, size_t{4097}, 2 * kMiB - 1}) {
    const Buffer buffer(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u) << size;
  }
}

TEST(Buffer, IsZeroFilledAndWritableToItsLastByte) {
  for (const size_t size : {size_t{4096}, 3 * kMiB + 1}) {
    const Buffer buffer(size);
    const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
    EXPECT_TRUE(std::all_of(buffer.span().begin(), buffer.span().end(), is_zero));
    std::fill(buffer.span().begin(), buffer.span().end(), std::byte{0xa5});
    EXPECT_EQ(buffer.span().back(), std::byte{0xa5});
  }
}

TEST(Buffer, StaysOutOfChildren) {
  for (const size_t size : {size_t{4096}, 2 * kMiB}) {
    const Buffer buffer(size);
    EXPECT_NE(mapping_flags(buffer.data()).find(" dc "), std::string::npos) << size;
  }
}

TEST(Buffer, CanBeMoved) {
  Buffer first(4096);
  std::byte* const data = first.data();
  Buffer second(std::move(first));
  EXPECT_EQ(second.data(), data);
  Buffer third(2 * kMiB);
  third = std::move(second);
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(third.size(), 4096u);
}

TEST(Buffer, OfNothingIsEmpty) {
  EXPECT_TRUE(Buffer().span().empty());
  EXPECT_TRUE(Buffer(0).span().empty());
}

TEST(Buffer, ThatDoesNotFitIsAnErrorAndNotACrash) {
  EXPECT_EQ(thrown_by([] { Buffer(SIZE_MAX); }), MessageId::kNoMemory);
  EXPECT_EQ(thrown_by([] { Buffer(SIZE_MAX / 4); }), MessageId::kNoMemory);
}

}  // namespace
}  // namespace extmerge
