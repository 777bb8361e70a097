// SPDX-License-Identifier: GPL-3.0-or-later
//
// --since-last: a round on the user's word that the thin is the one that was merged last.

#include <gtest/gtest.h>

#include "tests/merge/rounds_fixture.h"

namespace extmerge {
namespace {

TEST_F(Rounds, DevicesAreMergedInFullUnlessTheUserSaysThatTheThinIsTheSame) {
  write_all();
  merge_job(pool->job(directory, freeze()));
  pool->write(kSnap, 3);
  const uint32_t second = freeze();
  EXPECT_NE(merger(pool->job(directory, second)).plan().full_reason, "");
  options.round = RoundChoice::kSince;
  const auto expected = pool->view(second);
  EXPECT_EQ(merge_job(pool->job(directory, second)).plan.summary.copy_blocks, 1u);
  EXPECT_EQ(first_difference(pool->origin().contents(), expected), "");
  // The thin itself, once it is still.
  pool->write(kSnap, 4);
  pool->commit();
  EXPECT_EQ(merge_job(pool->job(directory, kSnap)).plan.summary.copy_blocks, 1u);
  EXPECT_EQ(first_difference(pool->origin().contents(), pool->view(kSnap)), "");
}

TEST_F(Rounds, SinceTheLastMergeIsAnErrorWhereThereWasNone) {
  write_all();
  options.round = RoundChoice::kSince;
  pool->commit();
  const Error error = failure([&] { merger(pool->job(directory, kSnap)).plan(); });
  EXPECT_EQ(error.id(), MessageId::kNoBase);
}

TEST_F(Rounds, SinceTheLastMergeIsAnErrorForAThinThatWasNotFrozenThen) {
  write_all();
  const uint32_t older = freeze();
  pool->write(kSnap, 2);
  merge_job(pool->job(directory, freeze()));
  options.round = RoundChoice::kSince;
  const Error error = failure([&] { merger(pool->job(directory, older)).plan(); });
  EXPECT_EQ(error.id(), MessageId::kNoBase) << error.what();
}

TEST_F(Rounds, SinceTheLastMergeIsAnErrorForAThinWithOtherMappings) {
  write_all();
  pool->create(kOther);
  for (uint64_t block = 0; block < kThinBlocks; ++block) pool->write(kOther, block);
  merge_job(pool->job(directory, freeze()));
  options.round = RoundChoice::kSince;
  const uint32_t of_other = freeze(kOther);
  const auto before = pool->origin().contents();
  const Error error = failure([&] { merge_job(pool->job(directory, of_other)); });
  EXPECT_EQ(error.id(), MessageId::kOtherThin) << error.what();
  EXPECT_EQ(first_difference(pool->origin().contents(), before), "");
}

TEST_F(Rounds, SinceTheLastMergeIsAnErrorForARevertedVolume) {
  write_all();
  const uint32_t kept = next_id++;
  pool->snapshot(kept, kSnap);
  pool->write(kSnap, 2);
  merge();
  pool->write(kSnap, 7);
  merge();
  pool->revert(kSnap, kept);
  pool->snapshot(60, kept);
  pool->remove(60);
  options.round = RoundChoice::kSince;
  const uint32_t id = freeze(kept);
  const Error error = failure([&] { merge_job(pool->job(directory, id, kept)); });
  EXPECT_EQ(error.id(), MessageId::kNoBase) << error.what();
}

}  // namespace
}  // namespace extmerge
