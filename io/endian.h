// SPDX-License-Identifier: GPL-3.0-or-later
//
// Integers as they lie on disk: little-endian, unaligned, without arithmetic. Reading one needs an
// explicit call. So the fields of a struct over a disk block cannot be used as numbers by mistake.

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace extmerge {

template <typename T>
class LittleEndian {
 public:
  LittleEndian() = default;
  explicit LittleEndian(T value) { set(value); }

  T get() const {
    T value;
    std::memcpy(&value, bytes_, sizeof value);
    return to_native(value);
  }
  void set(T value) {
    value = to_native(value);
    std::memcpy(bytes_, &value, sizeof value);
  }

 private:
  static T to_native(T value) {
    if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) return value;
    T swapped = 0;
    for (unsigned i = 0; i < sizeof(T); ++i) {
      swapped = static_cast<T>((swapped << 8) | (value & 0xff));
      value = static_cast<T>(value >> 8);
    }
    return swapped;
  }
  unsigned char bytes_[sizeof(T)] = {};
};

using le16 = LittleEndian<uint16_t>;
using le32 = LittleEndian<uint32_t>;
using le64 = LittleEndian<uint64_t>;

// A copy of the T that lies at `at`, which need not be aligned.
template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

static_assert(sizeof(le64) == 8 && alignof(le64) == 1 && std::is_trivially_copyable_v<le64>);

}  // namespace extmerge
