// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/nearest.h"

#include <gtest/gtest.h>

namespace extmerge {
namespace {

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("merge", "merge"), 0u);
  EXPECT_EQ(edit_distance("merg", "merge"), 1u);
  EXPECT_EQ(edit_distance("marge", "merge"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(EditDistance, ASwapOfNeighboursIsOneEdit) {
  EXPECT_EQ(edit_distance("mrege", "merge"), 1u);
  EXPECT_EQ(edit_distance("--jouranl", "--journal"), 1u);
}

TEST(Nearest, NamesTheWordWithTheFewestEdits) {
  const std::vector<std::string> known{"--thin-id", "--thin-size", "--threads"};
  EXPECT_EQ(nearest("--thin-siz", known), "--thin-size");
  EXPECT_EQ(nearest("--thinid", known), "--thin-id");
  EXPECT_EQ(nearest("--tread", known), "--threads");
}

TEST(Nearest, SaysNothingWhereNothingIsNear) {
  EXPECT_EQ(nearest("--undo-log", {"--thin-id", "--json"}), std::nullopt);
  EXPECT_EQ(nearest("anything", {}), std::nullopt);
}

TEST(Nearest, OfEquallyNearWordsTakesTheFirst) {
  EXPECT_EQ(nearest("plum", {"plan", "plim"}), "plim");
  EXPECT_EQ(nearest("aa", {"ab", "ac"}), "ab");
}

}  // namespace
}  // namespace extmerge
