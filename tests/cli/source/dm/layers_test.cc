// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/layers.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <sstream>

namespace extmerge {
namespace {

// A table line as dmsetup prints it: START LENGTH TYPE WORDS
DmTarget target(const std::string& line) {
  std::istringstream words(line);
  DmTarget made;
  words >> made.start >> made.length >> made.type;
  for (std::string word; words >> word;) made.arguments.push_back(word);
  return made;
}
bool same(const std::string& some, const std::string& others) {
  return lead_to_the_same({target(some)}, {target(others)});
}

TEST(Layers, OfARaidOrCacheAreTheSameWithOtherWordsOfTheKernel) {
  EXPECT_TRUE(same("0 16384 raid raid1 5 0 rebuild 1 region_size 4096 2 254:4 254:5 254:6 254:7",
                   "0 16384 raid raid1 3 0 region_size 4096 2 254:4 254:5 254:6 254:7"));
  EXPECT_TRUE(same("0 8 cache 254:5 254:4 254:6 128 2 metadata2 writeback smq 0",
                   "0 8 cache 254:5 254:4 254:6 128 1 writeback smq 2 migration_threshold 2048"));
}

TEST(Layers, AreOthersIfTheyLeadElsewhere) {
  EXPECT_FALSE(same("0 16384 raid raid1 3 0 region_size 4096 2 254:4 254:5 254:6 254:7",
                    "0 16384 raid raid1 3 0 region_size 4096 2 254:4 254:5 254:6 254:9"));
  EXPECT_FALSE(same("0 8 linear 8:0 2048", "0 8 linear 8:0 4096"));
  EXPECT_FALSE(same("0 8 linear 8:0 2048", "0 16 linear 8:0 2048"));
  EXPECT_FALSE(same("0 8 linear 8:0 2048", "8 8 linear 8:0 2048"));
  EXPECT_FALSE(same("0 8 linear 8:0 2048", "0 8 mirror 8:0 2048"));
  EXPECT_FALSE(same("0 8 striped 2 8 8:0 0 8:16 0", "0 8 striped 2 16 8:0 0 8:16 0"));
  EXPECT_FALSE(same("0 8 thin 254:2 1", "0 8 thin 254:2 2"));
  EXPECT_FALSE(lead_to_the_same({target("0 8 linear 8:0 0")}, {}));
  EXPECT_TRUE(lead_to_the_same({}, {}));
}

TEST(Layers, HaveTheDevicesOfTheirTables) {
  DmTable table;
  table.targets = {target("0 8 cache 254:5 254:4 254:6 128 0 smq 0"), target("8 8 linear 8:16 0"),
                   target("16 8 integrity 254:7 0 4 B 2 meta_device:254:8 x:1")};
  EXPECT_EQ(devices_of(table),
            (std::set<uint64_t>{makedev(254, 5), makedev(254, 4), makedev(254, 6), makedev(8, 16),
                                makedev(254, 7), makedev(254, 8)}));
}

}  // namespace
}  // namespace extmerge
