// SPDX-License-Identifier: GPL-3.0-or-later
//
// Names are chosen by whoever makes files and volumes. Shown as they are, one
// with escape sequences could move the cursor and rewrite what an administrator
// is about to say yes to; pasted as it is, one with blanks is two arguments.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace extmerge {

// With control characters, also those that UTF-8 writes in two bytes, and what is
// not UTF-8 as \xNN.
std::string printable(std::string_view text);
// The same, but lines stay lines.
std::string printable_lines(std::string_view text);

// As one word for a shell; nothing is changed where nothing needs it.
std::string shell_word(const std::string& text);

// Two digits a byte.
std::string hex(std::span<const unsigned char> bytes);
// 16 digits.
std::string hex(uint64_t number);

std::string joined(const std::vector<std::string>& words, std::string_view separator);
// "k1, k2 and k3"; of more than five names the first three: "k1, k10, k100 and 147 more".
std::string some_of(const std::vector<std::string>& names);

// "1 block", "2 blocks".
std::string plural(uint64_t count, const std::string& noun);

}  // namespace extmerge
