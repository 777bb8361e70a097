// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/size.h"

#include <gtest/gtest.h>

#include "io/error.h"

namespace extmerge {
namespace {

uint64_t size_of(const char* text) { return parse_size(text, "--some-size").value(); }

void expect_refused(const char* text, const char* because) {
  try {
    parse_size(text, "--some-size");
    FAIL() << "'" << text << "' was taken for a size";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kUsage);
    EXPECT_NE(std::string(error.what()).find("--some-size"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(because), std::string::npos) << error.what();
  }
}

TEST(Size, APlainNumberIsBytes) {
  EXPECT_EQ(size_of("0"), 0u);
  EXPECT_EQ(size_of("4096"), 4096u);
  EXPECT_EQ(size_of("4096B"), 4096u);
  EXPECT_EQ(size_of("4096b"), 4096u);
}

TEST(Size, SmallAndCapitalLettersCountIn1024s) {
  for (const char* text : {"64k", "64K", "64KiB", "64kiB", "64Kib"})
    EXPECT_EQ(size_of(text), 65536u) << text;
  EXPECT_EQ(size_of("3m"), 3u << 20);
  EXPECT_EQ(size_of("3G"), 3ull << 30);
  EXPECT_EQ(size_of("3TiB"), 3ull << 40);
  EXPECT_EQ(size_of("3P"), 3ull << 50);
  EXPECT_EQ(size_of("7E"), 7ull << 60);
}

TEST(Size, OnlySpelledOutDecimalUnitsCountIn1000s) {
  EXPECT_EQ(size_of("64kB"), 64000u);
  EXPECT_EQ(size_of("64KB"), 64000u);
  EXPECT_EQ(size_of("2GB"), 2000000000u);
}

TEST(Size, AnSCountsSectors) {
  EXPECT_EQ(size_of("128s"), 65536u);
  EXPECT_EQ(size_of("1S"), 512u);
}

TEST(Size, WhatIsNoSizeIsRefused) {
  for (const char* text : {"", "k", "-1", "-64k", "+1", " 1", "1 k", "1.5G", "0x10", "64q", "64kk",
                           "64kiBx", "64Bi", "1e3", "64ks"})
    expect_refused(text, "is not a size");
}

TEST(Size, WhatDoesNotFitIsRefused) {
  EXPECT_EQ(size_of("9223372036854775807"), uint64_t{INT64_MAX});
  for (const char* text : {"9223372036854775808", "18446744073709551616", "8E", "16E",
                           "99999999999999999999999", "18014398509481984s"})
    expect_refused(text, "is too large");
}

TEST(Size, TheRangeIncludesItsEnds) {
  EXPECT_EQ(parse_size("4k", "-o", Bytes(4096), Bytes(8192)).value(), 4096u);
  EXPECT_EQ(parse_size("8k", "-o", Bytes(4096), Bytes(8192)).value(), 8192u);
  EXPECT_THROW(parse_size("4095", "-o", Bytes(4096), Bytes(8192)), Error);
  EXPECT_THROW(parse_size("8193", "-o", Bytes(4096), Bytes(8192)), Error);
}

TEST(Number, IsDecimalAndInRange) {
  EXPECT_EQ(parse_number("0", "-o", 0, 5), 0u);
  EXPECT_EQ(parse_number("5", "-o", 0, 5), 5u);
  EXPECT_EQ(parse_number("18446744073709551615", "-o", 0, UINT64_MAX), UINT64_MAX);
  for (const char* text : {"", "6", "-1", "+1", "1x", " 1", "0x1", "18446744073709551616"})
    EXPECT_THROW(parse_number(text, "-o", 0, 5), Error) << text;
}

std::string shown(uint64_t bytes, char unit = 'h', bool suffix = true) {
  return format_size(Bytes(bytes), SizeFormat{unit, suffix});
}

TEST(FormatSize, HumanUnitsLeaveANumberFromOneUp) {
  EXPECT_EQ(shown(0), "0 B");
  EXPECT_EQ(shown(1023), "1023 B");
  EXPECT_EQ(shown(1024), "1.0 KiB");
  EXPECT_EQ(shown(65536), "64.0 KiB");
  EXPECT_EQ(shown(19541884928), "18.2 GiB");
  EXPECT_EQ(shown(1ull << 60), "1.0 EiB");
  EXPECT_EQ(shown(INT64_MAX), "8.0 EiB");
}

TEST(FormatSize, RoundingNeverShows1024) {
  EXPECT_EQ(shown((1u << 20) - 1), "1.0 MiB");
  EXPECT_EQ(shown(1048524), "1023.9 KiB");
  EXPECT_EQ(shown(999999, 'H'), "1.0 MB");
}

TEST(FormatSize, CapitalLettersCountIn1000s) {
  EXPECT_EQ(shown(1500000, 'H'), "1.5 MB");
  EXPECT_EQ(shown(1500000, 'M'), "1.50 MB");
  EXPECT_EQ(shown(64000, 'K'), "64.00 kB");
}

TEST(FormatSize, FixedUnitsHaveTwoDecimals) {
  EXPECT_EQ(shown(1536, 'b'), "1536 B");
  EXPECT_EQ(shown(1536, 's'), "3 sectors");
  EXPECT_EQ(shown(1536, 'k'), "1.50 KiB");
  EXPECT_EQ(shown(1536ull << 20, 'g'), "1.50 GiB");
  EXPECT_EQ(shown(1536ull << 20, 't'), "0.00 TiB");
}

TEST(FormatSize, ROnlyMarksWhatWasRoundedUp) {
  EXPECT_EQ(shown(1024 + 102, 'r'), "<1.1 KiB");  // 1.0996
  EXPECT_EQ(shown(1024 + 110, 'r'), "1.1 KiB");   // 1.107
  EXPECT_EQ(shown(1024, 'r'), "1.0 KiB");
}

TEST(FormatSize, TheSuffixCanBeLeftOut) {
  EXPECT_EQ(shown(1536, 'k', false), "1.50");
  EXPECT_EQ(shown(65536, 'h', false), "64.0");
  EXPECT_EQ(shown(65536, 'b', false), "65536");
  EXPECT_EQ(shown(65536, 's', false), "128");
}

TEST(Unit, IsOneKnownLetter) {
  for (const char unit : std::string("bBsSkKmMgGtTpPeEhHrR")) EXPECT_TRUE(is_unit(unit)) << unit;
  for (const char unit : std::string("axz1 ") + '\0') EXPECT_FALSE(is_unit(unit)) << unit;
}

}  // namespace
}  // namespace extmerge
