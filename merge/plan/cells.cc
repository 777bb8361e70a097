// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/cells.h"

#include <algorithm>

namespace extmerge {

void OriginMap::add(Kind kind, Bytes offset, Bytes length) {
  if (length == Bytes(0)) return;
  const uint64_t end = (offset + length).value();
  cover(Bytes(end));
  const uint64_t size = cell_length_.value();
  const uint64_t last = (end - 1) / size;
  if (cells_.size() <= last) cells_.resize(last + 1);
  for (uint64_t i = offset.value() / size; i <= last; ++i) {
    const uint64_t from = std::max(offset.value(), i * size);
    cells_[i][kind] += std::min(end, (i + 1) * size) - from;
  }
}

void OriginMap::cover(Bytes end) {
  while (end > Bytes(0) && (end.value() - 1) / cell_length_.value() >= kMostCells) coarsen();
}

void OriginMap::coarsen() {
  const size_t half = (cells_.size() + 1) / 2;
  cells_.resize(half * 2);
  for (size_t i = 0; i < half; ++i) {
    for (size_t kind = 0; kind < kKinds; ++kind) {
      // Work in place: cells 2i and 2i + 1 are read before they are overwritten.
      cells_[i][kind] = cells_[2 * i][kind] + cells_[2 * i + 1][kind];
    }
  }
  cells_.resize(half);
  cell_length_ += cell_length_;
}

Bytes OriginMap::total(Kind kind) const {
  Bytes sum;
  for (const Cell& cell : cells_) sum += Bytes(cell[kind]);
  return sum;
}

PlannedShares shares_of(const OriginMap::Cell& cell) {
  const uint64_t planned = cell[OriginMap::kPlanned];
  const uint64_t compared = cell[OriginMap::kCompared];
  if (compared == 0) return {{}, {}, Bytes(planned)};
  const uint64_t found = cell[OriginMap::kDifferent];
  // If all bytes are compared, the share is exact.
  const auto different = compared == planned ? found
                                             : static_cast<uint64_t>(static_cast<double>(planned) *
                                                                     static_cast<double>(found) /
                                                                     static_cast<double>(compared));
  return {Bytes(planned - std::min(planned, different)), Bytes(std::min(planned, different)), {}};
}

PlannedShares shares_of(const OriginMap& map) {
  PlannedShares sum;
  for (const OriginMap::Cell& cell : map.cells()) {
    const PlannedShares shares = shares_of(cell);
    sum.equal += shares.equal;
    sum.different += shares.different;
    sum.unknown += shares.unknown;
  }
  return sum;
}

}  // namespace extmerge
