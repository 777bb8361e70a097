// SPDX-License-Identifier: GPL-3.0-or-later
//
// A map of the plan on the origin, for a picture. It has at most 4096 cells of equal length. Each
// cell counts its bytes that are planned, compared, different, durable, or past the origin's end. A
// cell is a data block at first. When a byte lies past the last cell, each two cells become one. So
// no length must be known beforehand, memory does not depend on the plan's size, and totals stay
// exact.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/units.h"
#include "merge/plan/run.h"

namespace extmerge {

class OriginMap {
 public:
  enum Kind : size_t {
    kPlanned,    // to be copied, or copied
    kCompared,   // of the planned bytes: read from both devices
    kDifferent,  // of the compared bytes: in units of 4 KiB
    kDurable,    // of the planned bytes: copied, and safe from a crash
    kBeyond,     // mapped past the origin's end; planned only for an extension
    kKinds
  };
  // Bytes of each kind.
  using Cell = std::array<uint64_t, kKinds>;

  static constexpr size_t kMostCells = 4096;

  explicit OriginMap(DataBlockSize block_size) : cell_length_(block_size.bytes()) {}

  void add(Kind kind, Bytes offset, Bytes length);
  // Joins each two cells into one.
  void coarsen();
  // Makes the cells long enough for bytes up to `end`.
  void cover(Bytes end);

  Bytes cell_length() const { return cell_length_; }
  // The cells up to the last one with bytes; each begins `cell_length` after the one before.
  std::span<const Cell> cells() const { return cells_; }
  Bytes total(Kind kind) const;
  // Whether all bytes planned before the origin's end were compared.
  bool is_exact() const { return total(kCompared) == total(kPlanned); }

 private:
  Bytes cell_length_;
  std::vector<Cell> cells_;
};

// A cell's planned bytes, divided by the result of its compared sample.
struct PlannedShares {
  Bytes equal;
  Bytes different;
  Bytes unknown;  // no byte of the cell was compared
};
PlannedShares shares_of(const OriginMap::Cell& cell);
// The sum of the shares of all cells.
PlannedShares shares_of(const OriginMap& map);

}  // namespace extmerge
