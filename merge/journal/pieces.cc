// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/journal/pieces.h"

namespace extmerge {

Bytes origin_end_of(const Journal& journal) {
  const MergeRecord& record = journal.record();
  return journal.state() == JournalState::kUndone ? record.origin_size_before
                                                  : record.origin_size_after;
}

Bytes durable_position(const Journal& journal) {
  const JournalState state = journal.state();
  const bool undone = state == JournalState::kUndoing || state == JournalState::kUndone;
  return undone ? Bytes(0) : journal.progress().position;
}

void for_each_piece(Journal& journal, const PlannedPiece& piece) {
  Bytes durable = durable_position(journal);
  const std::unique_ptr<RunSource> runs = journal.all_runs();
  ExtentSource extents(*runs, journal.record().limits());
  while (durable > Bytes(0)) {
    const std::optional<Extent> extent = extents.next(durable);
    if (!extent) return;
    piece(*extent, true);
    durable -= extent->length;
  }
  while (const std::optional<Extent> extent = extents.next(Bytes(INT64_MAX))) piece(*extent, false);
}

OriginMap map_of(Journal& journal) {
  OriginMap map(journal.record().block_size);
  for_each_piece(journal, [&](const Extent& extent, bool durable) {
    map.add(OriginMap::kPlanned, extent.origin_offset, extent.length);
    if (durable) map.add(OriginMap::kDurable, extent.origin_offset, extent.length);
  });
  return map;
}

}  // namespace extmerge
