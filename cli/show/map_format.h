// SPDX-License-Identifier: GPL-3.0-or-later
//
// The formats of --export.

#pragma once

namespace extmerge {

// kDdrescue: a mapfile of GNU ddrescue; kBorg: an input map of borg 2; kBmap: a block map of
// bmaptool.
enum class MapFormat { kBorg, kBmap, kDdrescue, kJson };

}  // namespace extmerge
