// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan in a journal, piece by piece, and the part that is on the origin.

#pragma once

#include <functional>

#include "merge/journal/journal.h"
#include "merge/plan/cells.h"

namespace extmerge {

// The end of a journal's origin: an undo takes an extension back.
Bytes origin_end_of(const Journal& journal);

// The position that is durable on the origin; 0 once an undo has begun.
Bytes durable_position(const Journal& journal);

// Called for each piece of the plan, in plan order.
using PlannedPiece = std::function<void(const Extent&, bool durable)>;
void for_each_piece(Journal& journal, const PlannedPiece& piece);

OriginMap map_of(Journal& journal);

}  // namespace extmerge
