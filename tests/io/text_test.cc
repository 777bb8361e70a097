// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/text.h"

#include <gtest/gtest.h>

namespace extmerge {
namespace {

TEST(Printable, LeavesTextInAnyLanguageAlone) {
  EXPECT_EQ(printable("/dev/vg/Größe 日本"), "/dev/vg/Größe 日本");
  EXPECT_EQ(printable("\xc2\xa0"), "\xc2\xa0");
}

TEST(Printable, ShowsControlCharactersInsteadOfSendingThem) {
  EXPECT_EQ(printable("a\x1b[2Jb\x7f"), "a\\x1b[2Jb\\x7f");
  EXPECT_EQ(printable("a\xc2\x9b"), "a\\xc2\\x9b");
  EXPECT_EQ(printable("a\nb\r"), "a\\x0ab\\x0d");
  EXPECT_EQ(printable("a\xff\x9b\xe6\x97"), "a\\xff\\x9b\\xe6\\x97");
  EXPECT_EQ(printable_lines("a\nb\r"), "a\nb\\x0d");
}

TEST(ShellWord, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(shell_word("/var/lib/extmerge/0a.journal"), "/var/lib/extmerge/0a.journal");
  EXPECT_EQ(shell_word("/a b"), "'/a b'");
  EXPECT_EQ(shell_word("/it's $HOME"), "'/it'\\''s $HOME'");
  EXPECT_EQ(shell_word(""), "''");
}

TEST(ShellWord, CanEvenBePastedWithControlCharacters) {
  EXPECT_EQ(shell_word("/a\n'\\"), "$'/a\\x0a\\'\\\\'");
}

TEST(SomeOf, NamesFiveAtMostAndCountsTheRest) {
  std::vector<std::string> names = {"k1"};
  EXPECT_EQ(some_of(names), "k1");
  names.push_back("k10");
  EXPECT_EQ(some_of(names), "k1 and k10");
  names.insert(names.end(), {"k100", "k101", "k102"});
  EXPECT_EQ(some_of(names), "k1, k10, k100, k101 and k102");
  names.resize(150);
  EXPECT_EQ(some_of(names), "k1, k10, k100 and 147 more");
  EXPECT_EQ(some_of({}), "");
}

TEST(Text, ANumberAgreesWithItsNoun) {
  EXPECT_EQ(plural(0, "block"), "0 blocks");
  EXPECT_EQ(plural(1, "block"), "1 block");
  EXPECT_EQ(plural(2, "block"), "2 blocks");
}

}  // namespace
}  // namespace extmerge
