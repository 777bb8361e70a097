// SPDX-License-Identifier: GPL-3.0-or-later
//
// --map draws where a plan lies on the origin. The origin runs from left to right and from top to
// bottom, in cells of equal length (merge/plan/cells.h).
//
//   SVG       a cell is a column, filled from below by the share of its bytes that are of
//  each kind; unmapped bytes stay empty
//   terminal  a cell is half a character, in the colour of the first kind it has anything of;
//             without colours a character, so a cell is `=` only if nothing else is in it; past
//             the origin's end it is blank

#pragma once

#include <string>

#include "cli/show/report.h"
#include "merge/journal/journal.h"
#include "merge/plan/cells.h"

namespace extmerge {

struct Picture {
  std::string title;
  Bytes origin_end;
  Bytes end;                // of the picture, at or past the origin's end
  bool of_journal = false;  // shows what is durable; else what a comparison found
  OriginMap map;
  SizeFormat sizes;
};

// `report` must have a map.
Picture picture_of(const PlanReport& report, const DeviceNames& names, const SizeFormat& sizes);
Picture picture_of(Journal& journal, const SizeFormat& sizes);

// The first bytes of an SVG by extmerge.
inline constexpr char kPictureMark[] = "<!-- Drawn by extmerge";

std::string draw_svg(const Picture& picture);

enum class Ink { kColours, kCharacters };
std::string draw_for_terminal(const Picture& picture, Ink ink);
// Whether standard output can show colours.
Ink ink_of_standard_output();

}  // namespace extmerge
