// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/checksum.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace extmerge {

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t start) {
  // crc32_iscsi() takes its length as an int, so longer memory goes in parts.
  constexpr size_t kLongestPart = size_t{1} << 30;
  uint32_t remainder = start;
  while (!bytes.empty()) {
    const size_t length = std::min(bytes.size(), kLongestPart);
    // The function only reads, although its parameter is not const.
    auto* begin = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
    remainder = crc32_iscsi(begin, static_cast<int>(length), remainder);
    bytes = bytes.subspan(length);
  }
  return remainder;
}

}  // namespace extmerge
