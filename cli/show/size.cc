// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/size.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "io/error.h"

namespace extmerge {

namespace {

constexpr std::string_view kLetters = "bkmgtpe";  // the position is the power

[[noreturn]] void refuse(std::string_view option, std::string_view text, const std::string& why) {
  throw Error(MessageId::kUsage, std::string(option) + ": '" + std::string(text) + "' " + why,
              "write a size as 4096 (bytes), 64k, 64KiB, 64M, 10G or 128s (sectors)");
}

// Returns 0 for an unknown suffix.
uint64_t multiplier(std::string_view suffix) {
  if (suffix.empty() || suffix == "B" || suffix == "b") return 1;
  if (suffix == "s" || suffix == "S") return kSectorSize;
  const char letter = static_cast<char>(std::tolower(static_cast<unsigned char>(suffix[0])));
  const size_t power = kLetters.find(letter);
  if (power == std::string_view::npos || power == 0) return 0;
  const std::string_view rest = suffix.substr(1);
  if (!rest.empty() && rest != "iB" && rest != "ib" && rest != "B") return 0;
  const uint64_t base = rest == "B" ? 1000 : 1024;
  uint64_t product = 1;
  for (size_t i = 0; i < power; ++i) product *= base;
  return product;
}

double power_of(bool decimal, size_t power) {
  return std::pow(decimal ? 1000.0 : 1024.0, static_cast<double>(power));
}

std::string suffix_of(bool decimal, size_t power) {
  if (power == 0) return " B";
  const char letter = static_cast<char>(std::toupper(static_cast<unsigned char>(kLetters[power])));
  if (!decimal) return {' ', letter, 'i', 'B'};
  return {' ', power == 1 ? 'k' : letter, 'B'};
}

std::string with_decimals(double number, int decimals) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", decimals, number);
  return text.data();
}

}  // namespace

Bytes parse_size(std::string_view text, std::string_view option, Bytes least, Bytes most) {
  uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure == std::errc::result_out_of_range) refuse(option, text, "is too large");
  if (failure != std::errc()) refuse(option, text, "is not a size");
  const uint64_t factor = multiplier(text.substr(static_cast<size_t>(end - text.data())));
  if (factor == 0) refuse(option, text, "is not a size");
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(number, factor, &bytes) || bytes > INT64_MAX)
    refuse(option, text, "is too large");
  if (bytes < least.value() || bytes > most.value())
    refuse(option, text,
           "is out of range: it must be from " + format_size(least) + " to " + format_size(most));
  return Bytes(bytes);
}

uint64_t parse_number(std::string_view text, std::string_view option, uint64_t least,
                      uint64_t most) {
  uint64_t number = 0;
  const char* last = text.data() + text.size();
  const auto [end, failure] = std::from_chars(text.data(), last, number);
  const bool too_large = failure == std::errc::result_out_of_range;
  if (!too_large && (failure != std::errc() || end != last))
    throw Error(MessageId::kUsage,
                std::string(option) + ": '" + std::string(text) + "' is not a number",
                "write it in decimal digits, without a sign");
  if (too_large || number < least || number > most)
    throw Error(MessageId::kUsage,
                std::string(option) + ": " + std::string(text) + " is out of range",
                "it must be from " + std::to_string(least) + " to " + std::to_string(most));
  return number;
}

bool is_unit(char unit) {
  return unit != '\0' && std::string_view("bBsSkKmMgGtTpPeEhHrR").find(unit) != std::string::npos;
}

std::string format_size(Bytes size, const SizeFormat& format) {
  const char unit = static_cast<char>(std::tolower(static_cast<unsigned char>(format.unit)));
  const bool decimal = std::isupper(static_cast<unsigned char>(format.unit)) != 0;
  if (unit == 'b') return std::to_string(size.value()) + (format.suffix ? " B" : "");
  if (unit == 's')
    return std::to_string(size.value() / kSectorSize) + (format.suffix ? " sectors" : "");

  const double bytes = static_cast<double>(size.value());
  if (unit != 'h' && unit != 'r') {
    const size_t power = kLetters.find(unit);
    return with_decimals(bytes / power_of(decimal, power), 2) +
           (format.suffix ? suffix_of(decimal, power) : "");
  }
  size_t power = 0;
  // Show 1023.96 KiB as 1.0 MiB, not as 1024.0 KiB.
  while (power + 1 < kLetters.size() &&
         bytes / power_of(decimal, power) >= (decimal ? 999.95 : 1023.95))
    ++power;
  const double number = bytes / power_of(decimal, power);
  const std::string digits = with_decimals(number, power == 0 ? 0 : 1);
  const bool rounded_up = unit == 'r' && std::stod(digits) > number;
  return (rounded_up ? "<" : "") + digits + (format.suffix ? suffix_of(decimal, power) : "");
}

}  // namespace extmerge
