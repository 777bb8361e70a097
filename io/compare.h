// SPDX-License-Identifier: GPL-3.0-or-later
//
// Where two ranges of bytes differ.
//
// File systems and flash write units of 4 KiB; a smaller write makes the device read, modify and
// write.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "io/units.h"

namespace extmerge {

struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

bool all_zero(std::span<const std::byte> bytes);

inline constexpr size_t kCompareUnit = 4096;
// Writing this many equal bytes again is cheaper than a transfer of its own. Measured with 90 %
// equal bytes: 8 % more bytes are written than differ, in three quarters of the time. With 16 KiB
// 60 % more are written, without saving time.
inline constexpr size_t kJoinedGap = 4 << 10;

// Appends the ranges in which two memories of equal length differ, in rising order, with gaps. Each
// range is widened to the grid of `unit` bytes from the origin's byte 0, but not past the memories'
// ends. The memories lie at `offset` on the origin. Ranges at most `joined_gap` apart become one.
void find_differences(std::span<const std::byte> a, std::span<const std::byte> b, Bytes offset,
                      size_t unit, size_t joined_gap, std::vector<ByteRange>& differences);

}  // namespace extmerge
