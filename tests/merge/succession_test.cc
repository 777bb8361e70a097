// SPDX-License-Identifier: GPL-3.0-or-later
//
// One thin is merged after another into the same origin. A thin shows the origin where it maps
// nothing, so the first merge may have changed the second thin.

#include "tests/merge/merge_fixture.h"

namespace extmerge {
namespace {

class Succession : public LivePool {
 protected:
  // Thin 2 maps the blocks of thin 1 and block 9; thin 3 lacks blocks 0 and 1.
  void add_devices(MetadataBuilder& pool) override {
    pool.add_device(2, pool.add_tree({{0, 4}, {1, 5}, {4, 0}, {6, 2}, {7, 1}, {9, 2}, {11, 3}}));
    pool.add_device(3, pool.add_tree({{4, 0}, {6, 2}, {7, 1}, {11, 3}}));
  }
  void SetUp() override {
    LivePool::SetUp();
    use_metadata([](MetadataBuilder&) {});
  }
  void merge_thin(uint32_t id) {
    job->thin_id = ThinId{id};
    EXPECT_EQ(merge().state, JournalState::kDone);
  }
  void expect_refused(uint32_t id, const std::string& words_in_it) {
    job->thin_id = ThinId{id};
    const auto before = scene->origin().contents();
    EXPECT_EQ(merge_failure(), MessageId::kSharedOrigin);
    EXPECT_NE(words.find(words_in_it), std::string::npos) << words;
    expect_untouched(before);
    EXPECT_EQ(merger().plan().refusals.size(), 1u);
  }
};

TEST_F(Succession, OfAThinThatMapsAllThatWasMergedNeedsNoOverride) {
  merge_thin(1);
  merge_thin(2);
}

TEST_F(Succession, OtherThinsAreCountedForThisPlanOnly) {
  for (int i = 0; i < 2; ++i) {
    merger().plan();
    EXPECT_EQ(progress.thins, 2u);
    EXPECT_EQ(progress.thins_read, 2u);
  }
}

TEST_F(Succession, OfOneThatWasChangedByWhatWasMergedIsRefused) {
  merge_thin(2);
  expect_refused(1, "thin id 1 was changed in 1 block when thin id 2");
  expect_refused(3, "thin id 3 was changed in 3 blocks");
}

TEST_F(Succession, OfOneThatWasChangedIsMergedWhereThatIsAccepted) {
  merge_thin(2);
  options.overrides.allow_shared_origin = true;
  merge_thin(1);
  options.overrides = {};
  options.again = true;
  merge_thin(3);
}

// The builder's thins have time 3 and transaction 7.
TEST_F(Succession, OfOneThatWasMadeAfterTheMergeNeedsNoOverride) {
  const auto set_superblocks = [&](uint32_t time, uint64_t transaction) {
    for (const uint64_t block : {uint64_t{0}, builder->held_root()}) {
      builder->superblock(block).time.set(time);
      builder->superblock(block).trans_id.set(transaction);
      builder->fix_checksum(block);
    }
    metadata = std::make_shared<SimulatedDisk>(world, "/images/metadata", builder->image());
  };
  struct Made {
    uint32_t time;
    uint64_t transaction;
    bool is_later;
  };
  for (const Made& made :
       {Made{2, 9, true}, {3, 7, true}, {3, 8, false}, {3, 0, false}, {4, 7, false}}) {
    SetUp();
    options.overrides = {};
    set_superblocks(made.time, made.transaction);
    merge_thin(2);
    job->thin_id = ThinId{1};
    EXPECT_EQ(merger().plan().refusals.empty(), made.is_later) << made.time << made.transaction;
  }
}

TEST_F(Succession, OfTheSameSourceUnderTheIdOfANewFreezeIsAnotherRound) {
  merge_thin(2);
  job->thin_id = ThinId{1};
  job->merged_as = ThinId{2};
  EXPECT_EQ(merge().state, JournalState::kDone);
}

}  // namespace
}  // namespace extmerge
