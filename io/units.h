// SPDX-License-Identifier: GPL-3.0-or-later
//
// Sectors, bytes and several kinds of block number meet in every function of this program. Each
// mix-up is a wrong byte on a disk. So each is a type of its own: adding a data block to a thin
// block, or passing sectors as bytes, does not compile. All ranges are half-open.

#pragma once

#include <compare>
#include <cstdint>

namespace extmerge {

// An amount: sums and differences of the same unit make sense.
template <typename Tag>
class Amount {
 public:
  constexpr Amount() = default;
  explicit constexpr Amount(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }

  friend constexpr auto operator<=>(Amount, Amount) = default;
  friend constexpr Amount operator+(Amount a, Amount b) { return Amount(a.value_ + b.value_); }
  friend constexpr Amount operator-(Amount a, Amount b) { return Amount(a.value_ - b.value_); }
  constexpr Amount& operator+=(Amount b) {
    value_ += b.value_;
    return *this;
  }
  constexpr Amount& operator-=(Amount b) {
    value_ -= b.value_;
    return *this;
  }

 private:
  uint64_t value_ = 0;
};

// A block number: a count moves it, and two of them are a count apart.
template <typename Tag>
class BlockNumber {
 public:
  constexpr BlockNumber() = default;
  explicit constexpr BlockNumber(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }

  friend constexpr auto operator<=>(BlockNumber, BlockNumber) = default;
  friend constexpr BlockNumber operator+(BlockNumber a, uint64_t blocks) {
    return BlockNumber(a.value_ + blocks);
  }
  friend constexpr uint64_t operator-(BlockNumber a, BlockNumber b) { return a.value_ - b.value_; }

 private:
  uint64_t value_ = 0;
};

using Bytes = Amount<struct BytesTag>;      // a length, or an offset into a device
using Sectors = Amount<struct SectorsTag>;  // 512 bytes, whatever the device's own unit is

using ThinBlock =
    BlockNumber<struct ThinBlockTag>;  // block of the thin device, and so of the origin
using DataBlock = BlockNumber<struct DataBlockTag>;  // block of the pool's data device, 40 bits
using MetadataBlock =
    BlockNumber<struct MetadataBlockTag>;  // 4096-byte block of the metadata device

// dm-thin's dev_id: 24 bits.
enum class ThinId : uint32_t {};
inline constexpr uint32_t kMaxThinId = (1u << 24) - 1;
constexpr uint32_t value(ThinId id) { return static_cast<uint32_t>(id); }

inline constexpr uint64_t kSectorSize = 512;
constexpr Bytes to_bytes(Sectors s) { return Bytes(s.value() * kSectorSize); }

constexpr uint64_t round_up(uint64_t length, uint64_t unit) {
  return (length + unit - 1) / unit * unit;
}

// The pool's data block size. Any multiple of 64 KiB up to 1 GiB, not
// necessarily a power of two: divide, never shift.
class DataBlockSize {
 public:
  constexpr DataBlockSize() = default;
  explicit constexpr DataBlockSize(Bytes bytes) : bytes_(bytes) {}
  constexpr Bytes bytes() const { return bytes_; }
  constexpr Bytes offset(ThinBlock b) const { return Bytes(b.value() * bytes_.value()); }
  constexpr Bytes offset(DataBlock b) const { return Bytes(b.value() * bytes_.value()); }
  constexpr Bytes length(uint64_t blocks) const { return Bytes(blocks * bytes_.value()); }
  // The number of blocks needed to hold `length` bytes, the last one perhaps in part.
  constexpr uint64_t blocks_holding(Bytes length) const {
    return length.value() / bytes_.value() + (length.value() % bytes_.value() != 0);
  }
  friend constexpr bool operator==(DataBlockSize, DataBlockSize) = default;

 private:
  Bytes bytes_;
};

}  // namespace extmerge
