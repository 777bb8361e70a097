// SPDX-License-Identifier: GPL-3.0-or-later
//
// The chain base <- mon <- tue <- wed: which of its volumes a merge of the newest one may give up.

#include "cli/source/lvm/chain.h"

#include <gtest/gtest.h>

#include "tests/cli/source/lvm/made_volumes.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

using Names = std::vector<std::string>;

// Thin ids are used again, so the transaction tells the age.
LogicalVolume aged(const std::string& name, uint64_t transaction, Names ancestors,
                   const std::string& pool = "pool") {
  LogicalVolume made = thin(name, 100 - transaction, std::move(ancestors), pool);
  made.transaction_id = transaction;
  return made;
}

Group chain_and(std::vector<LogicalVolume> more = {}) {
  LogicalVolume origin = volume("base");
  origin.is_external_origin = true;
  std::vector<LogicalVolume> all = {origin, volume("pool", "thin-pool"), aged("mon", 1, {"base"}),
                                    aged("tue", 2, {"mon", "base"}),
                                    aged("wed", 3, {"tue", "mon", "base"})};
  all.insert(all.end(), more.begin(), more.end());
  return Group(all);
}

Names found(const Group& group, const Names& with, const std::vector<Member>& recorded = {},
            const std::string& snap = "wed") {
  Request request;
  request.with = with;
  Names names;
  for (const LogicalVolume& one : find_members(find_thin_volume(group, snap), request, recorded))
    names.push_back(one.name);
  return names;
}

MessageId refusal(const Group& group, const Names& with, const std::string& snap = "wed") {
  return thrown_by([&] { found(group, with, {}, snap); });
}

TEST(Chain, IsTheOriginAndThenEachVolumeUpToTheNewest) {
  EXPECT_EQ(chain_of(find_thin_volume(chain_and(), "wed"), {}),
            (Names{"vg/base", "vg/mon", "vg/tue", "vg/wed"}));
  EXPECT_EQ(chain_of(find_thin_volume(chain_and(), "mon"), {}), (Names{"vg/base", "vg/mon"}));
}

TEST(Chain, HasParentsThatOnlyTheMappingsShow) {
  // LVM has forgotten that thu was a snapshot of a removed snapshot of wed.
  const ThinVolume thu =
      find_thin_volume(chain_and({aged("thu", 5, {"base"}), aged("other", 4, {"base"}),
                                  aged("fri", 6, {"base"}), aged("far", 2, {"base"}, "pool2")}),
                       "thu");
  const auto id = [](uint64_t transaction) { return static_cast<ThinId>(100 - transaction); };
  EXPECT_EQ(perhaps_older(thu), (std::vector<ThinId>{id(1), id(2), id(3), id(4)}));
  EXPECT_EQ(chain_of(thu, {id(3)}), (Names{"vg/base", "vg/mon", "vg/tue", "vg/wed", "vg/thu"}));
  EXPECT_EQ(chain_of(thu, {}), (Names{"vg/base", "vg/thu"}));
}

TEST(Members, AreFoundInAnyOrderAndSortedByAge) {
  EXPECT_EQ(found(chain_and(), {"mon", "tue"}), (Names{"tue", "mon"}));
  EXPECT_EQ(found(chain_and(), {"vg/tue", "vg/mon"}), (Names{"tue", "mon"}));
  EXPECT_EQ(found(chain_and(), {}), Names{});
}

TEST(Members, MayBeVolumesThatLvmNoLongerShowsAsParents) {
  // Once tue is removed, LVM shows wed as a snapshot of base.
  std::vector<LogicalVolume> all = {volume("base"), volume("pool", "thin-pool"),
                                    aged("mon", 1, {"base"}), aged("wed", 3, {"base"})};
  EXPECT_EQ(found(Group(all), {"mon"}), Names{"mon"});
}

TEST(Members, AreNeitherTheVolumeItselfNorNamedTwice) {
  EXPECT_EQ(refusal(chain_and(), {"wed"}), MessageId::kUsage);
  EXPECT_EQ(refusal(chain_and(), {"mon", "vg/mon"}), MessageId::kUsage);
  EXPECT_EQ(refusal(chain_and(), {"-mon"}), MessageId::kUsage);
  EXPECT_EQ(refusal(chain_and(), {"vg/mon/tue"}), MessageId::kUsage);
}

TEST(Members, ExistUnlessTheRecordKnowsThemAndTheyAreGone) {
  EXPECT_EQ(refusal(chain_and(), {"sun"}), MessageId::kNotFound);
  EXPECT_EQ(found(chain_and(), {"sun", "tue"}, {{"sun", "uuid of sun"}}), Names{"tue"});
  EXPECT_EQ(thrown_by([&] {
              found(chain_and(), {"sun"}, {{"sun", "tue"}});
            }),
            MessageId::kNotFound)
      << "its volume is called tue now";
}

TEST(Members, AreOlder) {
  EXPECT_EQ(refusal(chain_and(), {"wed"}, "tue"), MessageId::kNotInChain);
  // A snapshot of the volume itself, with an id and a transaction that somebody restored.
  EXPECT_EQ(refusal(chain_and({aged("thu", 0, {"wed", "tue", "mon", "base"})}), {"thu"}),
            MessageId::kNotInChain);
}

TEST(Members, ReadTheSameOriginInTheSamePool) {
  LogicalVolume other = volume("base2");
  other.is_external_origin = true;
  EXPECT_EQ(refusal(chain_and({other, aged("alien", 2, {"base2"})}), {"alien"}),
            MessageId::kNotInChain);
  EXPECT_EQ(refusal(chain_and({aged("plain", 2, {})}), {"plain"}), MessageId::kNotInChain);
  EXPECT_EQ(refusal(chain_and({aged("far", 2, {"base"}, "pool2")}), {"far"}),
            MessageId::kNotInChain);
  EXPECT_EQ(refusal(chain_and(), {"base"}), MessageId::kNotInChain);
  EXPECT_EQ(refusal(chain_and(), {"pool"}), MessageId::kNotInChain);
  EXPECT_EQ(refusal(chain_and(), {"vg2/mon"}), MessageId::kNotInChain);
}

TEST(Members, AreNoFreezeAndNoOriginOfAnotherVolume) {
  LogicalVolume freeze = aged("extmerge_01234567", 2, {"mon", "base"});
  freeze.tags = {kFreezeTag};
  EXPECT_EQ(refusal(chain_and({freeze}), {"extmerge_01234567"}), MessageId::kNotInChain);
  LogicalVolume old_style = volume("old");
  old_style.origin = "mon";
  EXPECT_EQ(refusal(chain_and({old_style}), {"mon"}), MessageId::kNotInChain);
  EXPECT_EQ(refusal(chain_and({aged("over", 4, {"mon", "base"}, "pool2")}), {"mon"}),
            MessageId::kNotInChain)
      << "over may have mon as its external origin";
}

TEST(Members, MayHaveOtherSnapshots) {
  EXPECT_EQ(found(chain_and({aged("side", 4, {"mon", "base"})}), {"mon"}), Names{"mon"})
      << "LVM does not remove side with mon";
}

}  // namespace
}  // namespace extmerge
