// SPDX-License-Identifier: GPL-3.0-or-later
//
// status --export=ddrescue: how far a merge is, as a mapfile of GNU ddrescue, which ddrescueview
// draws and ddrescuelog takes apart. `+` (finished): the origin holds here what the snapshot shows,
// be it copied and durable, be it never mapped. `?` (not tried): still to be copied. The format is
// in ddrescue's manual, "Mapfile structure".

#pragma once

#include <string>

#include "cli/show/output_file.h"
#include "merge/journal/journal.h"

namespace extmerge {

// What such a file of ours begins with.
inline constexpr char kMapfileMark[] = "# Mapfile. Created by extmerge";

// In one pass, of a plan of any size.
void write_mapfile(Journal& journal, OutputFile& file);

}  // namespace extmerge
