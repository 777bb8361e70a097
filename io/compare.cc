// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/compare.h"

#include <algorithm>
#include <cstring>

namespace extmerge {

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

void find_differences(std::span<const std::byte> a, std::span<const std::byte> b, Bytes offset,
                      size_t unit, size_t joined_gap, std::vector<ByteRange>& differences) {
  const size_t before = differences.size();
  // The memory's start may cut the first unit, its end the last one.
  size_t begin = 0;
  size_t end = unit - static_cast<size_t>(offset.value() % unit);
  for (; begin < a.size(); begin = end, end += unit) {
    end = std::min(end, a.size());
    if (std::memcmp(a.data() + begin, b.data() + begin, end - begin) == 0) continue;
    const bool joins = differences.size() > before && begin - differences.back().end <= joined_gap;
    if (joins) {
      differences.back().end = end;
    } else {
      differences.push_back({begin, end});
    }
  }
}

}  // namespace extmerge
