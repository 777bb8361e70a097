// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/text.h"

#include <algorithm>

namespace extmerge {

namespace {

void append_escaped(std::string& text, char c) {
  constexpr char kHex[] = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  text += "\\x";
  text += kHex[byte >> 4];
  text += kHex[byte & 15];
}

// The number of bytes of the UTF-8 character at `at`, 0 if it is invalid.
size_t character_length(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (lead > 0xf4 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[at + i]) & 0xc0) != 0x80) return 0;
  }
  return length;
}

// U+0080 to U+009F count too: one of them also begins an escape sequence.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (first == 0xc2) return static_cast<unsigned char>(character[1]) < 0xa0;
  return first < 0x20 || first == 0x7f;
}

std::string escape_controls(std::string_view text, bool keep_lines) {
  std::string shown;
  for (size_t i = 0; i < text.size();) {
    const size_t length = character_length(text, i);
    const std::string_view character = text.substr(i, length == 0 ? 1 : length);
    i += character.size();
    if (length == 0 || (is_control(character) && !(keep_lines && character == "\n"))) {
      for (const char c : character) append_escaped(shown, c);
    } else {
      shown += character;
    }
  }
  return shown;
}

bool is_plain(char c) {
  constexpr std::string_view kPlain = "/._-+,:@%=";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kPlain.find(c) != std::string_view::npos;
}

}  // namespace

std::string printable(std::string_view text) { return escape_controls(text, false); }
std::string printable_lines(std::string_view text) { return escape_controls(text, true); }

std::string shell_word(const std::string& text) {
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_plain)) return text;
  // A shell reads \xNN between $' and ', so even odd names can be pasted.
  const bool odd = printable(text) != text;
  std::string word;
  for (const char c : text) {
    if (c == '\'')
      word += odd ? "\\'" : "'\\''";
    else if (odd && c == '\\')
      word += "\\\\";
    else
      word += c;
  }
  return (odd ? "$'" : "'") + printable(word) + "'";
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr size_t kMost = 5, kShown = 3;
  const size_t shown = names.size() > kMost ? kShown : names.size();
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    const bool is_last = i + 1 == names.size();
    text += (i == 0 ? "" : is_last ? " and " : ", ") + names[i];
  }
  if (shown < names.size()) text += " and " + std::to_string(names.size() - shown) + " more";
  return text;
}

}  // namespace extmerge
