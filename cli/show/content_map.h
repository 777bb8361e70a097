// SPDX-License-Identifier: GPL-3.0-or-later
//
// plan --export writes the contents of a thin as a map for another program:
//
//   borg      the input map of `borg create --map` (borg 2): every range is data, zero or same
//   bmap      the block map of bmaptool, version 1.2 of its format, which has no checksums
//   ddrescue  a domain mapfile of GNU ddrescue: `+` is to be read, `?` is not
//   json      every range with its content
//
// Each program must read all that the base does not have: a range without a mapping is the external
// origin's content.

#pragma once

#include <string_view>

#include "cli/show/map_format.h"
#include "cli/show/output_file.h"
#include "merge/merge.h"

namespace extmerge {

// The first bytes of such a map by extmerge.
std::string_view mark_of(MapFormat format);

// "data", "origin", "zero", "same".
const char* content_name(Content content);

// A listener that writes each range to `file`, after the lines that come before them. `since` tells
// in words what the base is; empty for none. end_content_map() writes the lines after them.
ContentListener begin_content_map(MapFormat format, const ContentsReport& report,
                                  const std::string& since, OutputFile& file);
void end_content_map(MapFormat format, OutputFile& file);

}  // namespace extmerge
