// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/text.h"

#include <algorithm>
#include <array>

namespace extmerge {

namespace {

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
      for (const char c : character) {
        const auto byte = static_cast<unsigned char>(c);
        shown += "\\x" + hex(std::span(&byte, 1));
      }
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

std::string hex(std::span<const unsigned char> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string hex(uint64_t number) {
  std::array<unsigned char, sizeof number> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>(number >> (8 * (bytes.size() - 1 - i)));
  }
  return hex(bytes);
}

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += separator;
    text += word;
  }
  return text;
}

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

std::string bytes_text(Bytes bytes) { return std::to_string(bytes.value()) + " bytes"; }
std::string thin_id_text(ThinId id) { return "thin id " + std::to_string(value(id)); }

std::string plural(uint64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace extmerge
