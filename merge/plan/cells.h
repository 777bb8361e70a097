// SPDX-License-Identifier: GPL-3.0-or-later
//
// Where on the origin a plan lies, for a picture: the origin in at most 4096
// cells of equal length, and of each cell how many of its bytes are planned,
// were compared, differ, are durable, or lie past the origin's end. A cell is a
// data block at first; whenever something lies past the last cell, each two
// become one. So no length has to be known beforehand, a plan of any size takes
// the same memory, and totals stay exact.

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
    kCompared,   // of that: read from both devices
    kDifferent,  // of that: in units of 4 KiB
    kDurable,    // of what is planned: copied, and safe from a crash
    kBeyond,     // mapped, and past the origin's end; not planned, but for an extension
    kKinds
  };
  // Bytes of each kind.
  using Cell = std::array<uint64_t, kKinds>;

  static constexpr size_t kMostCells = 4096;

  explicit OriginMap(DataBlockSize block_size) : cell_length_(block_size.bytes()) {}

  void add(Kind kind, Bytes offset, Bytes length);
  // Each two cells become one.
  void coarsen();
  // What is added up to there changes no cell's length.
  void cover(Bytes end);

  Bytes cell_length() const { return cell_length_; }
  // Up to the last that has something; each is `cell_length` from the one before.
  std::span<const Cell> cells() const { return cells_; }
  Bytes total(Kind kind) const;
  // Whether all that is planned before the origin's end was compared.
  bool is_exact() const { return total(kCompared) == total(kPlanned); }

 private:
  Bytes cell_length_;
  std::vector<Cell> cells_;
};

// What is planned in a cell, by what was found in the sample of it that was compared.
struct PlannedShares {
  Bytes equal;
  Bytes different;
  Bytes unknown;  // nothing of the cell was compared
};
PlannedShares shares_of(const OriginMap::Cell& cell);
// Of all cells.
PlannedShares shares_of(const OriginMap& map);

}  // namespace extmerge
