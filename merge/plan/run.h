// SPDX-License-Identifier: GPL-3.0-or-later
//
// The words of a plan: run, content, extent, limits, digest. merge/plan/runs.h explains them.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "io/units.h"

namespace extmerge {

// Where the bytes of a run come from. A merge has runs of pool data only. A copy has the others,
// too; the numbers are those in its journal.
enum class RunContent : uint64_t {
  kPoolData = 0,
  kUnmapped = 1,  // what the thin shows where it maps nothing: its external origin, zeros past that
  kZeros = 2,     // the same, past the origin's end
  kHeld = 3,      // pool data that the target has already: not copied, but recorded
};

struct Run {
  ThinBlock thin;
  DataBlock data;  // of kUnmapped and kZeros: the number of the thin block
  uint64_t blocks = 0;
  RunContent content = RunContent::kPoolData;
  // Whether the thin maps its blocks.
  bool is_mapped() const {
    return content == RunContent::kPoolData || content == RunContent::kHeld;
  }
  // Appends `next` if it continues this run on both devices. Returns whether it does.
  bool try_append(const Run& next) {
    if (blocks == 0 || next.thin != thin + blocks || next.data != data + blocks ||
        next.content != content)
      return false;
    blocks += next.blocks;
    return true;
  }
  friend bool operator==(const Run&, const Run&) = default;
};

// Runs in plan order: rising thin blocks that do not overlap.
class RunSource {
 public:
  virtual ~RunSource() = default;
  // False at the end.
  virtual bool next(Run& run) = 0;
};

struct Extent {
  Bytes origin_offset;
  Bytes data_offset;
  Bytes length;
  // Cuts off the first `amount` bytes.
  void drop_front(Bytes amount) {
    origin_offset += amount;
    data_offset += amount;
    length -= amount;
  }
  friend bool operator==(const Extent&, const Extent&) = default;
};

struct PlanLimits {
  DataBlockSize block_size;
  Bytes end;                      // of the copied bytes
  std::optional<Bytes> thin_end;  // unknown without --thin-size
  // A round leaves out the mappings older than this pool time, because the origin holds their
  // blocks already, up to `held_end`. 0: nothing is left out.
  uint32_t since = 0;
  Bytes held_end{};

  bool is_round() const { return since > 0; }
  // Whether the plan has the block of a mapping that was made at `time`.
  bool is_planned(ThinBlock thin, uint32_t time) const {
    if (time >= since) return true;
    return held_end < end && thin.value() >= held_end.value() / block_size.bytes().value();
  }
  // The same limits without the round's.
  PlanLimits of_everything() const { return {block_size, end, thin_end}; }
  // For a plan in blocks of another size.
  PlanLimits in_blocks_of(DataBlockSize size) const { return {size, end, thin_end}; }
};

// The limits of a copy's plan.
struct CopyLimits {
  PlanLimits plan;   // `end` is the thin's
  Bytes origin_end;  // the external origin's
  bool whole = false;
};

// Contents that are not pool data have offsets of their own, past the end of any data device. The
// thin's own offset is added to them. merge/content_device.h reads there.
inline constexpr Bytes kUnmappedAt{uint64_t{1} << 63};
inline constexpr Bytes kZerosAt{uint64_t{3} << 62};

// The part of `run` before the plan's end; length 0 if the run lies past it, or is held.
inline Extent to_extent(const Run& run, const PlanLimits& limits) {
  const Bytes start = limits.block_size.offset(run.thin);
  const Bytes end = std::min(limits.block_size.offset(run.thin + run.blocks), limits.end);
  const Bytes length = end > start && run.content != RunContent::kHeld ? end - start : Bytes(0);
  if (run.content == RunContent::kUnmapped) return {start, kUnmappedAt + start, length};
  if (run.content == RunContent::kZeros) return {start, kZerosAt + start, length};
  return {start, limits.block_size.offset(run.data), length};
}

// The largest power of two, at most 4096, that divides `end`.
Bytes alignment_of(Bytes end);

// XXH3, 128 bits, of each coalesced run as a little-endian triple (thin, data, blocks, with the
// content in the highest two bits). Both halves
// are summed up over all runs. The digest is XXH3 of these sums, the block size and the end. Equal
// digests mean equal plans.
struct PlanDigest {
  std::array<uint8_t, 16> bytes{};
  friend bool operator==(const PlanDigest&, const PlanDigest&) = default;
};
std::string to_string(const PlanDigest& digest);  // 32 hexadecimal digits

}  // namespace extmerge
