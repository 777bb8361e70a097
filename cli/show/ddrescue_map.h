// SPDX-License-Identifier: GPL-3.0-or-later
//
// status --export=ddrescue writes the progress of a merge as a mapfile of GNU ddrescue.
// ddrescueview draws such a file and ddrescuelog parses it. `+` (finished): the origin holds what
// the snapshot shows, because it is copied and durable, or was never mapped. `?` (not tried): still
// to be copied. The format is in ddrescue's manual, "Mapfile structure".

#pragma once

#include <string>

#include "cli/show/output_file.h"
#include "merge/journal/journal.h"

namespace extmerge {

// The first bytes of a mapfile by extmerge.
inline constexpr char kMapfileMark[] = "# Mapfile. Created by extmerge";

// The lines before those of the ranges. ddrescue would continue at `current`.
std::string mapfile_heading(Bytes current, bool finished);
// A range.
std::string mapfile_line(Bytes start, Bytes length, bool finished);

// Writes the mapfile in one pass, whatever the plan's size.
void write_mapfile(Journal& journal, OutputFile& file);

}  // namespace extmerge
