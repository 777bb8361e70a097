// SPDX-License-Identifier: GPL-3.0-or-later
//
// Cheap evidence. A watermark is a number in a file, and a file can be stale,
// copied or forged; so before it is believed, some of what it claims is read
// back and compared. And a finished merge leaves a fingerprint of the origin,
// so that a later round can tell that somebody has written to it since.

#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "io/block_device.h"
#include "merge/journal/journal.h"
#include "merge/plan/cells.h"

namespace extmerge {

struct SampleDifference {
  Bytes origin_offset;
};

// Compares the first, the last and 64 random pieces of at most 64 KiB among the
// planned bytes below `position`. The first difference found, if any.
std::optional<SampleDifference> compare_sample(Journal& journal, BlockDevice& data,
                                               BlockDevice& origin, Bytes position);

// How much of what is planned, `all` bytes, differs: a share from 0 to 1, from the first, the
// last and 64 random pieces of at most 64 KiB, compared in units of 4 KiB.
double sample_difference(ExtentSource& extents, Bytes all, BlockDevice& data, BlockDevice& origin);

// Adds the plan, `all` bytes that end at `end`, to the map, and what a comparison says: of all of
// it if it has no more than `most_pieces` pieces of 64 KiB, else of that many, spread evenly over
// it, and of one in each cell that has none of them. Without an origin nothing is compared. What
// cannot be read is not compared either; the first such failure is returned. Throws kStopped if
// `stop` was requested.
std::optional<Error> draw_plan(ExtentSource& extents, Bytes all, Bytes end, BlockDevice& data,
                               BlockDevice* origin, Bytes origin_end, uint64_t most_pieces,
                               const std::stop_token& stop, OriginMap& map);

// XXH3 of 4 KiB blocks of the origin: the first 16, where file systems keep what
// they change on every mount, the last, 64 spread over it by a fixed rule, and
// of the plan's first, last and 64 spread over it.
uint64_t origin_fingerprint(Journal& journal, BlockDevice& origin);

}  // namespace extmerge
