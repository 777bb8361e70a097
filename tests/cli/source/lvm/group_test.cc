// SPDX-License-Identifier: GPL-3.0-or-later
//
// Who reads an external origin, from the ancestors that LVM lists.

#include "cli/source/lvm/group.h"

#include <gtest/gtest.h>

#include "cli/source/lvm/thin_volume.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

LogicalVolume volume(const std::string& name, const std::string& segment_type = "linear") {
  LogicalVolume made;
  made.vg = "vg";
  made.name = made.uuid = name;
  made.segment_type = segment_type;
  return made;
}
LogicalVolume thin(const std::string& name, uint64_t id, std::vector<std::string> ancestors,
                   const std::string& pool = "pool") {
  LogicalVolume made = volume(name, "thin");
  made.thin_id = id;
  made.pool = pool;
  if (!ancestors.empty()) made.origin = ancestors.front();
  made.ancestors = std::move(ancestors);
  return made;
}
LogicalVolume as_external_origin(LogicalVolume made) {
  made.is_external_origin = true;
  return made;
}
// A group with `more` beside an origin, its pool and `snap` over it.
Group group(std::vector<LogicalVolume> more, bool snap_is_external_origin = false) {
  LogicalVolume snap = thin("snap", 1, {"origin"});
  snap.is_external_origin = snap_is_external_origin;
  std::vector<LogicalVolume> all = {as_external_origin(volume("origin")),
                                    volume("pool", "thin-pool"), snap};
  all.insert(all.end(), more.begin(), more.end());
  return Group(all);
}
std::vector<std::string> users(const Group& group) {
  std::vector<std::string> names;
  for (const OriginUser& user : group.users_of("origin", "pool")) {
    names.push_back(user.name + (user.of_this_pool ? "" : " in another pool"));
  }
  return names;
}
using Names = std::vector<std::string>;

TEST(OriginUsers, AreThinsAndTheirInternalSnapshots) {
  const Group with_all =
      group({thin("daily", 2, {"snap", "origin"}), thin("older", 3, {"daily", "snap", "origin"}),
             thin("orphan", 4, {"origin"}), thin("plain", 5, {}), thin("of_plain", 6, {"plain"}),
             thin("else", 7, {"other"})});
  EXPECT_EQ(users(with_all), (Names{"vg/snap", "vg/daily", "vg/older", "vg/orphan"}));
}

TEST(OriginUsers, AreInAnyPool) {
  EXPECT_EQ(users(group({thin("far", 1, {"origin"}, "pool2")})),
            (Names{"vg/snap", "vg/far in another pool"}));
}

TEST(OriginUsers, ReadNoMoreThanTheirOwnExternalOrigin) {
  const Group over_snap = group({thin("over", 1, {"snap", "origin"}, "pool2")}, true);
  EXPECT_EQ(users(over_snap), Names{"vg/snap"});
  EXPECT_EQ(over_snap.external_origin(*over_snap.find("over")), "snap");
}

TEST(ThinVolume, IsRefusedWhereAParentMayBeItsExternalOrigin) {
  const auto refusal = [](const Group& in, const std::string& name) {
    return thrown_by([&] { find_thin_volume(in, name); });
  };
  const Group unclear = group(
      {thin("over", 2, {"snap", "origin"}), thin("older", 3, {"over", "snap", "origin"})}, true);
  EXPECT_EQ(refusal(unclear, "over"), MessageId::kUnfitOrigin);
  EXPECT_EQ(refusal(unclear, "older"), MessageId::kUnfitOrigin);
  EXPECT_EQ(find_thin_volume(unclear, "snap").origin.name, "origin");
  const Group chained = group({thin("over", 2, {"snap", "origin"}, "pool2")}, true);
  EXPECT_EQ(refusal(chained, "over"), MessageId::kUnfitOrigin) << "the origin is a thin";
  const Group clear = group({thin("daily", 2, {"snap", "origin"}), thin("plain", 3, {})});
  EXPECT_EQ(find_thin_volume(clear, "daily").origin.name, "origin");
  EXPECT_EQ(refusal(clear, "plain"), MessageId::kNotAThin);
}

TEST(Dependents, AreThinsOverTheVolumeAndItsOldStyleSnapshots) {
  const auto dependents = [](const Group& in) { return find_thin_volume(in, "snap").dependents(); };
  LogicalVolume old_style = volume("old");
  old_style.origin = "snap";
  EXPECT_EQ(dependents(group({thin("daily", 2, {"snap", "origin"})})), Names{});
  EXPECT_EQ(dependents(group({old_style})), Names{"vg/old"});
  EXPECT_EQ(dependents(group({thin("over", 1, {"snap", "origin"}, "pool2")}, true)),
            Names{"vg/over"});
  EXPECT_EQ(dependents(group({thin("over", 2, {"snap", "origin"})}, true)), Names{"vg/over"})
      << "of the same pool";
}

}  // namespace
}  // namespace extmerge
