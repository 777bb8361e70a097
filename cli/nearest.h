// SPDX-License-Identifier: GPL-3.0-or-later
//
// "Did you mean": the known word that needs the fewest edits from the typed word.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace extmerge {

// The number of insertions, deletions, replacements and swaps of neighbours that turn one word into
// the other.
size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `known`, the first of equals. Nothing if it differs in more than a third of its
// letters, or two.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace extmerge
