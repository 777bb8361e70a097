// SPDX-License-Identifier: GPL-3.0-or-later
//
// A fake device-mapper with tables of devices over an origin.

#include "cli/source/dm/holders.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <map>

namespace extmerge {
namespace {

uint64_t dm(unsigned minor_number) { return makedev(253, minor_number); }

// A table with one target.
DmTable table(const std::string& name, const std::string& type,
              const std::vector<std::string>& arguments) {
  DmTable table;
  table.name = name;
  table.targets.push_back({.type = type, .arguments = arguments});
  return table;
}

// As in LVM, the origin 253:2 is linear over its -real layer 253:1, which is a piece of the disk
// 8:0. The pool 253:10 has its metadata on 253:11.
class OriginThins : public testing::Test {
 protected:
  OriginThins() {
    origin_.device_number = dm(2);
    origin_.underlying = {dm(2), dm(1), makedev(8, 0)};
    metadata_.device_number = dm(11);
    metadata_.underlying = {dm(11), makedev(8, 16)};
    tables_[dm(10)] = table("pool", "thin-pool", {"253:11", "253:12", "128", "0"});
    tables_[dm(20)] = table("other-pool", "thin-pool", {"253:21", "253:22", "128", "0"});
  }

  Holder add_thin(unsigned number, const std::string& pool, const std::string& external_origin) {
    std::vector<std::string> arguments = {pool, std::to_string(number)};
    if (!external_origin.empty()) arguments.push_back(external_origin);
    tables_[dm(number)] = table("thin" + std::to_string(number), "thin", arguments);
    return {"dm-" + std::to_string(number), dm(number)};
  }

  std::vector<ThinHolder> find() {
    return find_origin_thins(origin_, metadata_, [&](uint64_t number) -> std::optional<DmTable> {
      const auto found = tables_.find(number);
      if (found == tables_.end()) return {};
      return found->second;
    });
  }

  std::map<uint64_t, DmTable> tables_;
  DeviceFacts origin_, metadata_;
};

TEST_F(OriginThins, AreFoundAmongItsHolders) {
  origin_.holders = {add_thin(30, "253:10", "253:2"), {"md0", makedev(9, 0)}};
  const auto thins = find();
  ASSERT_EQ(thins.size(), 1u);
  EXPECT_EQ(thins[0].device_number, dm(30));
  EXPECT_EQ(thins[0].name, "thin30");
  EXPECT_EQ(value(thins[0].id), 30u);
  EXPECT_TRUE(thins[0].of_this_pool);
  EXPECT_FALSE(thins[0].of_layer_below);
  EXPECT_EQ(origin_.holders.size(), 2u);
}

TEST_F(OriginThins, ThatAreRemovedHoldNothingAlthoughSysfsListsThem) {
  origin_.holders = {add_thin(30, "253:10", "253:2"), {"dm-31", dm(31)}, {"md0", makedev(9, 0)}};
  EXPECT_EQ(find().size(), 1u);
  ASSERT_EQ(origin_.holders.size(), 2u);
  EXPECT_EQ(origin_.holders[0].name, "dm-30");
  EXPECT_EQ(origin_.holders[1].name, "md0");
}

TEST_F(OriginThins, ThatAreBeingMadeAreAskedAgain) {
  origin_.holders = {add_thin(30, "253:10", "253:2")};
  int looks = 0;
  const auto thins =
      find_origin_thins(origin_, metadata_, [&](uint64_t number) -> std::optional<DmTable> {
        const auto found = tables_.find(number);
        if (found == tables_.end()) return {};
        DmTable now = found->second;
        if (number == dm(30) && ++looks < 3) now.targets.clear();
        return now;
      });
  EXPECT_EQ(thins.size(), 1u);
  EXPECT_EQ(origin_.holders.size(), 1u);
}

TEST_F(OriginThins, AreWritableUnlessReadOnlyOrSuspended) {
  origin_.holders = {add_thin(30, "253:10", "253:2"), add_thin(31, "253:10", "253:2"),
                     add_thin(32, "253:10", "253:2")};
  tables_[dm(31)].read_only = true;
  tables_[dm(32)].suspended = true;
  const auto thins = find();
  ASSERT_EQ(thins.size(), 3u);
  EXPECT_TRUE(thins[0].writable);
  EXPECT_FALSE(thins[1].writable);
  EXPECT_FALSE(thins[2].writable);
}

TEST_F(OriginThins, ThatReadTheLayerUnderItHoldIt) {
  origin_.neighbours = {add_thin(30, "253:10", "253:1"), add_thin(31, "253:20", "253:1")};
  const auto thins = find();
  ASSERT_EQ(thins.size(), 2u);
  EXPECT_TRUE(thins[0].of_this_pool);
  EXPECT_FALSE(thins[1].of_this_pool);
  EXPECT_TRUE(thins[0].of_layer_below && thins[1].of_layer_below);
  ASSERT_EQ(origin_.holders.size(), 2u);
  EXPECT_EQ(origin_.holders[0].device_number, dm(30));
  EXPECT_EQ(origin_.holders[1].device_number, dm(31));
}

TEST_F(OriginThins, AreNotTheVolumesBesideIt) {
  tables_[dm(40)] = table("neighbour", "linear", {"8:0", "2048"});
  origin_.neighbours = {{"dm-40", dm(40)},
                        {"md0", makedev(9, 0)},
                        {"dm-41", dm(41)},
                        add_thin(30, "253:10", ""),
                        add_thin(31, "253:10", "253:9")};
  EXPECT_TRUE(find().empty());
  EXPECT_TRUE(origin_.holders.empty());
}

// The origin is a thin of another pool, over a base of its own.
TEST_F(OriginThins, DoNotReadItThroughItsOwnExternalOrigin) {
  add_thin(1, "253:20", "253:5");
  origin_.underlying = {dm(2), dm(1), dm(20), dm(21), dm(22), dm(5), makedev(8, 0)};
  origin_.neighbours = {add_thin(30, "253:10", "253:5"), add_thin(31, "253:10", "253:1")};
  const auto thins = find();
  ASSERT_EQ(thins.size(), 1u);
  EXPECT_EQ(thins[0].device_number, dm(31));
}

TEST_F(OriginThins, UnderAFileSystemAreToldFromWhatElseIsThere) {
  add_thin(30, "253:10", "");
  add_thin(31, "253:20", "253:2");
  tables_[dm(40)] = table("crypt", "crypt", {});
  tables_[dm(32)] = table("odd", "thin", {"253:10", "x"});
  const auto thins = find_thins_below(
      {dm(40), dm(30), dm(31), dm(32), dm(10), makedev(8, 0)},
      [&](uint64_t number) -> std::optional<DmTable> {
        const auto found = tables_.find(number);
        return found == tables_.end() ? std::nullopt : std::optional(found->second);
      });
  ASSERT_EQ(thins.size(), 2u);
  EXPECT_EQ(thins[0].name, "thin30");
  EXPECT_EQ(value(thins[0].id), 30u);
  EXPECT_EQ(thins[0].pool_metadata, dm(11));
  EXPECT_EQ(thins[0].origin, 0u);
  EXPECT_EQ(thins[1].pool_metadata, dm(21));
  EXPECT_EQ(thins[1].origin, dm(2));
}

}  // namespace
}  // namespace extmerge
