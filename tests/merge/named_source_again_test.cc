// SPDX-License-Identifier: GPL-3.0-or-later
//
// A merge of an LVM source after an earlier one: what was frozen then is known by its id.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/merge/named_source_fixture.h"

namespace extmerge {
namespace {

TEST_F(NamedSource, AFreezeThatIsGoneIsRememberedByItsId) {
  use_other(kAll);
  users({});
  merge();
  // The same state by the id of the frozen volume.
  use_metadata([](MetadataBuilder&) {});
  users({});
  EXPECT_EQ(merge_failure(), MessageId::kAlreadyDone);
}

// Thin 2 has the mappings of its freeze, thin 1, which was made at time 3 and is merged.
class Snapped : public NamedSource {
 protected:
  void add_devices(MetadataBuilder& pool) override {
    constexpr uint64_t kRootOfThin1 = 1;  // the first node that was built
    pool.add_mapping_root(value(kOther), kRootOfThin1);
    pool.add_details(value(kOther), 6, 9, 2);
  }
  // The plan of thin 2, with one mapping made at `time`.
  PlanReport plan_with_mapping_of(uint32_t time, ThinId merged_as = MergeScene::kThinId) {
    use_metadata([&](MetadataBuilder& pool) {
      pool.value(1, 3).set(pool.value(1, 3).get() | time);
      pool.fix_checksum(1);
    });
    users({});
    job->thin_id = kOther;
    job->merged_as = merged_as;
    return merger().plan();
  }
  void SetUp() override {
    NamedSource::SetUp();
    use_metadata([](MetadataBuilder&) {});
    users({});
    merge();
  }
};

TEST_F(Snapped, HasNothingNewIfAllItsMappingsAreOlderThanTheFreeze) {
  const PlanReport plan = plan_with_mapping_of(2);
  EXPECT_TRUE(plan.nothing_new);
  EXPECT_TRUE(plan.has_nothing_to_merge());
  ASSERT_EQ(plan.refusals.size(), 1u);
  EXPECT_EQ(plan.refusals[0].id(), MessageId::kAlreadyDone);
}

// The pool reuses blocks and roots: the same plan may have other data.
TEST_F(Snapped, MayHaveSomethingNewUnderTheSameMappingsIfOneIsYounger) {
  for (const uint32_t time : {3u, 4u}) {
    const PlanReport plan = plan_with_mapping_of(time);
    EXPECT_FALSE(plan.nothing_new) << time;
    ASSERT_EQ(plan.refusals.size(), 1u);
    EXPECT_EQ(plan.refusals[0].id(), MessageId::kAlreadyDone);
  }
}

TEST_F(Snapped, ThatIsNotKnownToHaveBeenFrozenIsNotCalledMerged) {
  EXPECT_FALSE(plan_with_mapping_of(2, ThinId{7}).nothing_new);
}

TEST_F(Snapped, IsNotCalledMergedIfTheOriginWasWrittenToSince) {
  scene->origin().overwrite(Bytes(1024), std::vector<std::byte>(512, std::byte{0x77}));
  EXPECT_FALSE(plan_with_mapping_of(2).nothing_new);
}

TEST_F(Snapped, SaysThatAnInactiveOriginWasNotLookedAt) {
  const auto says_so = [](const PlanReport& plan) {
    return std::ranges::count_if(plan.notes, [](const std::string& note) {
      return note.find("is inactive: extmerge did not check") != note.npos;
    });
  };
  EXPECT_EQ(says_so(plan_with_mapping_of(2)), 0);
  job->origin.is_regular = false;
  job->origin.is_block = true;  // and has no number
  const PlanReport plan = merger().plan();
  EXPECT_TRUE(plan.has_nothing_to_merge());
  EXPECT_EQ(says_so(plan), 1);
}

TEST_F(Snapped, WithAnotherReasonToRefuseHasMoreThanNothingToMerge) {
  PlanReport plan = plan_with_mapping_of(2);
  plan.refusals.push_back(Error(MessageId::kSharedOrigin, "a", "b"));
  EXPECT_FALSE(plan.has_nothing_to_merge());
}

// The thin itself was merged without a freeze, so it may be written in place since.
TEST_F(Snapped, MergedByItselfIsDoneAlreadyButNotCertainToBeUnwritten) {
  const PlanReport plan = merger().plan();
  EXPECT_FALSE(plan.nothing_new);
  ASSERT_EQ(plan.refusals.size(), 1u);
  EXPECT_EQ(plan.refusals[0].id(), MessageId::kAlreadyDone);
}

TEST_F(NamedSource, ALastRoundMergesWhatIsMergedIfTheOriginIsAsItWasLeft) {
  use_other(kAll);
  users({});
  merge();
  options.last_round = true;
  const MergeReport report = merge();
  EXPECT_EQ(report.state, JournalState::kDone);
  EXPECT_EQ(report.resumed_from, Bytes(0));
  scene->origin().overwrite(Bytes(1024), std::vector<std::byte>(512, std::byte{0x77}));
  EXPECT_EQ(merge_failure(), MessageId::kOriginChanged);
}

}  // namespace
}  // namespace extmerge
