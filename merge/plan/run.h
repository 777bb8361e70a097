// SPDX-License-Identifier: GPL-3.0-or-later
//
// The words of a plan: run, extent, limits, digest. merge/plan/runs.h explains them.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "io/units.h"

namespace extmerge {

struct Run {
  ThinBlock thin;
  DataBlock data;
  uint64_t blocks = 0;
  // Whether `next` goes on where this one ends, on both devices; if so it is made part of it.
  bool try_append(const Run& next) {
    if (blocks == 0 || next.thin != thin + blocks || next.data != data + blocks) return false;
    blocks += next.blocks;
    return true;
  }
  friend bool operator==(const Run&, const Run&) = default;
};

struct Extent {
  Bytes origin_offset;
  Bytes data_offset;
  Bytes length;
  friend bool operator==(const Extent&, const Extent&) = default;
};

struct PlanLimits {
  DataBlockSize block_size;
  Bytes end;                      // of what is copied
  std::optional<Bytes> thin_end;  // not known without --thin-size
};

// The part of `run` before the end; its length is 0 if it lies past it.
inline Extent to_extent(const Run& run, const PlanLimits& limits) {
  const Bytes start = limits.block_size.offset(run.thin);
  const Bytes end = std::min(limits.block_size.offset(run.thin + run.blocks), limits.end);
  const Bytes length = end > start ? end - start : Bytes(0);
  return {start, limits.block_size.offset(run.data), length};
}

// What offsets that end at `end` can be relied on to be multiples of: a power of
// two, at most 4096.
Bytes alignment_of(Bytes end);

// XXH3, 128 bits, of each run as a little-endian triple (thin, data, blocks) after
// coalescing; both halves summed up; then of these, the block size and the end. Equal
// digests: equal plans.
struct PlanDigest {
  std::array<uint8_t, 16> bytes{};
  friend bool operator==(const PlanDigest&, const PlanDigest&) = default;
};
std::string to_string(const PlanDigest& digest);  // 32 hexadecimal digits

}  // namespace extmerge
