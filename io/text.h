// SPDX-License-Identifier: GPL-3.0-or-later
//
// Other users choose the names of files and volumes. A name with escape sequences could move the
// cursor and change the question that an administrator reads. A pasted name with blanks would be
// two arguments.

#pragma once

#include <charconv>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/units.h"

namespace extmerge {

// Shows control characters, including those of two bytes in UTF-8, and invalid UTF-8 as \xNN.
std::string printable(std::string_view text);
// The same, but keeps newlines.
std::string printable_lines(std::string_view text);

// Quotes `text` as one word for a shell, if it needs quotes.
std::string shell_word(const std::string& text);

// Two digits a byte.
std::string hex(std::span<const unsigned char> bytes);
// 16 digits.
std::string hex(uint64_t number);

// Reads a decimal number; false unless it is all of `text`, without a sign.
template <typename Number>
bool parse_whole(std::string_view text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, number);
  return failure == std::errc() && stop == end;
}

std::string joined(const std::vector<std::string>& words, std::string_view separator);
// "k1, k2 and k3"; of more than five names the first three: "k1, k10, k100 and 147 more".
std::string some_of(const std::vector<std::string>& names);

// "4096 bytes".
std::string bytes_text(Bytes bytes);
// "thin id 7".
std::string thin_id_text(ThinId id);

// "1 block", "2 blocks".
std::string plural(uint64_t count, const std::string& noun);

}  // namespace extmerge
