// SPDX-License-Identifier: GPL-3.0-or-later
//
// Who reads an external origin, from the ancestors that LVM lists.

#include "cli/source/lvm/group.h"

#include <gtest/gtest.h>

#include "cli/source/lvm/origin_kind.h"
#include "cli/source/lvm/thin_volume.h"
#include "tests/cli/source/lvm/made_volumes.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

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
  const auto in_pool2 = group({thin("far", 1, {"origin"}, "pool2")}).users_of("origin", "pool");
  EXPECT_EQ(in_pool2[0].pool, "");
  EXPECT_EQ(in_pool2[1].pool, "pool2");
  EXPECT_EQ(in_pool2[1].uuid, "LVM-far");
}

TEST(OriginUsers, ReadNoMoreThanTheirOwnExternalOrigin) {
  const Group over_snap = group({thin("over", 1, {"snap", "origin"}, "pool2")}, true);
  EXPECT_EQ(users(over_snap), Names{"vg/snap"});
  EXPECT_EQ(over_snap.external_origin(*over_snap.find("over")), "snap");
}

LogicalVolume thin_origin(LogicalVolume::Snapshots snapshots, bool has_many = true) {
  LogicalVolume origin = as_external_origin(thin("origin", 1, {}, "pool2"));
  origin.snapshots = snapshots;
  origin.is_external_origin_of_many = has_many;
  return origin;
}
TEST(OriginUsers, OfAThinOriginMayBeInItsPool) {
  using Snapshots = LogicalVolume::Snapshots;
  const LogicalVolume snap = thin("snap", 1, {"origin"});
  const LogicalVolume one = thin("one", 2, {"origin"}, "pool2");
  const LogicalVolume two = thin("two", 3, {"origin"}, "pool2");
  const LogicalVolume three = thin("three", 4, {"origin"}, "pool2");
  EXPECT_EQ(users(Group({thin_origin(Snapshots::kOne), snap, one})), Names{"vg/snap"});
  EXPECT_EQ(users(Group({thin_origin(Snapshots::kMany), snap, one, two})), Names{"vg/snap"});
  EXPECT_EQ(users(Group({thin_origin(Snapshots::kMany, false), snap, one, two, three})),
            Names{"vg/snap"})
      << "snap is the only reader";
  EXPECT_EQ(users(Group({thin_origin(Snapshots::kNone), snap, one})),
            (Names{"vg/snap", "vg/one in another pool"}));
  EXPECT_EQ(users(Group({thin_origin(Snapshots::kMany), snap, one, two, three})),
            (Names{"vg/snap", "vg/one in another pool", "vg/two in another pool",
                   "vg/three in another pool"}))
      << "one of them may not be a snapshot";
}

// `parts` are the hidden volumes below the origin.
MessageId refusal_of(LogicalVolume origin, std::vector<LogicalVolume> parts = {}) {
  parts.push_back(as_external_origin(std::move(origin)));
  parts.push_back(volume("pool", "thin-pool"));
  parts.push_back(thin("snap", 1, {"origin"}));
  return thrown_by([&] { find_thin_volume(Group(parts), "snap"); });
}
LogicalVolume cached(const std::string& segment_type, const std::string& pool) {
  LogicalVolume made = volume("origin", segment_type);
  made.origin = "origin_corig";
  made.pool = pool;
  return made;
}
TEST(OriginKind, IsFitIfItsLayerCanBeLoadedAgain) {
  for (const char* fit : {"linear", "striped", "mirror", "raid0", "raid1", "raid10", "raid4",
                          "raid5_ls", "raid6_zr"}) {
    EXPECT_EQ(refusal_of(volume("origin", fit)), kNothingThrown) << fit;
  }
  for (const char* unfit : {"vdo", "error", "zero", "snapshot", "thin-pool", "unknown"}) {
    EXPECT_EQ(refusal_of(volume("origin", unfit)), MessageId::kUnfitOrigin) << unfit;
  }
}

TEST(OriginKind, IsThatOfEverySegment) {
  EXPECT_EQ(refusal_of(volume("origin"), {volume("origin", "striped")}), kNothingThrown);
  EXPECT_EQ(refusal_of(volume("origin"), {volume("origin", "error")}), MessageId::kUnfitOrigin);
}

TEST(OriginKind, OfACacheIsByItsPool) {
  const LogicalVolume below = volume("origin_corig");
  EXPECT_EQ(refusal_of(cached("cache", "fast_cpool"), {volume("fast_cpool", "cache-pool"), below}),
            kNothingThrown);
  EXPECT_EQ(refusal_of(cached("cache", "fast_cvol"), {volume("fast_cvol"), below}),
            MessageId::kUnfitOrigin);
  EXPECT_EQ(refusal_of(cached("cache", "gone"), {below}), MessageId::kUnfitOrigin);
  EXPECT_EQ(refusal_of(cached("writecache", "fast_cvol"), {volume("fast_cvol"), below}),
            kNothingThrown);
}

TEST(OriginKind, IsUnfitWithOldStyleSnapshots) {
  LogicalVolume old_style = volume("old");
  old_style.origin = "origin";
  EXPECT_EQ(refusal_of(volume("origin"), {old_style}), MessageId::kUnfitOrigin);
  EXPECT_EQ(refusal_of(volume("origin", "raid1"), {old_style}), MessageId::kUnfitOrigin);
  LogicalVolume snapshot = volume("origin");
  snapshot.origin = "base";
  EXPECT_EQ(refusal_of(snapshot), MessageId::kUnfitOrigin);
  LogicalVolume of_a_thin = thin("origin", 3, {"base"}, "pool2");
  EXPECT_EQ(refusal_of(of_a_thin), kNothingThrown);
  EXPECT_EQ(refusal_of(of_a_thin, {old_style}), MessageId::kUnfitOrigin);
}

TEST(RaidState, IsParsedFromTheStatusLine) {
  const auto raid1 = parse_raid_state("raid", "raid1 2 AA 16384/16384 idle 0 0 -");
  ASSERT_TRUE(raid1);
  EXPECT_EQ(raid1->trouble(), "");
  const auto degraded = parse_raid_state("raid", "raid1 2 AD 16384/16384 idle 0 0 -");
  EXPECT_TRUE(degraded->is_whole);
  EXPECT_NE(degraded->trouble().find("degraded (AD)"), std::string::npos);
  EXPECT_NE(parse_raid_state("raid", "raid1 2 Aa 512/16384 recover 0 0 -")->trouble().find("sync"),
            std::string::npos);
  const auto mirror = parse_raid_state("mirror", "2 254:1 254:2 16/16 1 AD 1 core");
  ASSERT_TRUE(mirror);
  EXPECT_EQ(mirror->health, "AD");
  EXPECT_TRUE(mirror->is_whole);
  EXPECT_EQ(parse_raid_state("mirror", "2 254:1 254:2 16/16 1 AA 1 core")->trouble(), "");
  EXPECT_FALSE(parse_raid_state("linear", ""));
  EXPECT_FALSE(parse_raid_state("raid", "raid1 2"));
  EXPECT_FALSE(parse_raid_state("raid", "raid1 3 AA 1/1 idle 0 0 -"));
}

TEST(RaidState, TellsWhetherAllDataIsThere) {
  const auto is_whole = [](const std::string& words) {
    return parse_raid_state("raid", words + " 8/8 idle 0 0 -")->is_whole;
  };
  EXPECT_TRUE(is_whole("raid1 3 DDA"));
  EXPECT_FALSE(is_whole("raid1 2 DD"));
  EXPECT_TRUE(is_whole("raid5_ls 3 ADA"));
  EXPECT_FALSE(is_whole("raid5_ls 3 ADD"));
  EXPECT_TRUE(is_whole("raid6_zr 5 DDAAA"));
  EXPECT_FALSE(is_whole("raid6_zr 5 DDDAA"));
  EXPECT_FALSE(is_whole("raid0 2 AD"));
  EXPECT_TRUE(is_whole("raid10 4 DADA"));
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
  const Group chained =
      group({thin("over", 2, {"snap", "origin"}, "pool2"), volume("pool2", "thin-pool")}, true);
  EXPECT_EQ(find_thin_volume(chained, "over").origin.name, "snap") << "a thin of another pool";
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
