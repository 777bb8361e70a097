// SPDX-License-Identifier: GPL-3.0-or-later
//
// Samples check a journal's claims cheaply. A position is a number in a file, which can be stale,
// copied or forged. So a sample of the bytes below it is read back and compared first. A finished
// merge also leaves a fingerprint of the origin, so that a later round can detect writes since.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "io/block_device.h"
#include "merge/journal/journal.h"
#include "merge/plan/cells.h"

namespace extmerge {

// Compares the first, the last and 64 random pieces, of at most `piece` bytes each, among the
// planned bytes below `position`. `piece` is at most 64 KiB. Returns the offset on the origin of
// the first difference found, if any.
inline constexpr Bytes kSamplePiece{64 << 10};
std::optional<Bytes> compare_sample(Journal& journal, BlockDevice& data, BlockDevice& origin,
                                    Bytes position, Bytes piece = kSamplePiece);

// Compares these extents, of at most 64 KiB each. Returns the offset on the origin of the first
// difference in their order.
std::optional<Bytes> compare_places(std::span<const Extent> extents, BlockDevice& data,
                                    BlockDevice& origin);

// The share of the plan, `all` bytes, that differs: 0 to 1. It is estimated from the first, the
// last and 64 random pieces of at most 64 KiB, compared in units of 4 KiB.
double sample_difference(ExtentSource& extents, Bytes all, BlockDevice& data, BlockDevice& origin);

// Adds the plan, `all` bytes that end at `end`, and the result of a comparison to the map. A plan
// of at most `most_pieces` pieces of 64 KiB is compared in full. Otherwise that many pieces are
// compared, spread evenly, and one in each cell without such a piece. Without an origin nothing is
// compared. Unreadable bytes are not compared; the first such failure is returned. Throws kStopped
// if `stop` was requested.
std::optional<Error> draw_plan(ExtentSource& extents, Bytes all, Bytes end, BlockDevice& data,
                               BlockDevice* origin, Bytes origin_end, uint64_t most_pieces,
                               const std::stop_token& stop, OriginMap& map);

// XXH3 of 4 KiB blocks of the origin: the first 16, which file systems change on every mount; the
// last; 64 spread over the origin by a fixed rule; the plan's first, last and 64 spread over the
// plan; and the journal's places of earlier rounds.
uint64_t origin_fingerprint(Journal& journal, BlockDevice& origin);

// The places of the journal's plan, and of earlier rounds, for the journal of the next round.
// Otherwise the fingerprint of a small round would not see the blocks of earlier ones. At most
// kMostPlaces, evenly chosen, in rising order.
std::vector<Bytes> places_to_keep(Journal& journal, BlockDevice& origin);

}  // namespace extmerge
