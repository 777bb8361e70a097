// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan in a journal, piece by piece, and how much of it is on the origin.

#pragma once

#include <functional>

#include "merge/journal/journal.h"
#include "merge/plan/cells.h"

namespace extmerge {

// Where the origin of a journal ends: an undo takes an extension back.
Bytes origin_end_of(const Journal& journal);

// How much of the plan is durable on the origin: nothing any more once an undo has begun.
Bytes durable_position(const Journal& journal);

// The plan in a journal, piece by piece in plan order, and whether each is durable.
using PlannedPiece = std::function<void(const Extent&, bool durable)>;
void for_each_piece(Journal& journal, const PlannedPiece& piece);

OriginMap map_of(Journal& journal);

}  // namespace extmerge
