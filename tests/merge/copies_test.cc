// SPDX-License-Identifier: GPL-3.0-or-later
//
// Copies to another device on a simulated pool. After each copy the target is compared byte by byte
// with what the freeze showed, and origin and pool must be as they were.

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "merge/merge.h"
#include "tests/support/failure.h"
#include "tests/support/merge_scene.h"
#include "tests/support/thin_pool.h"

namespace extmerge {
namespace {

constexpr uint32_t kSnap = 1;
constexpr uint64_t kBlocks = 12;
constexpr uint64_t kBlock = ThinPool::kBlockSize;

enum class CopyKind { kMapped, kWhole };

class Copies : public testing::TestWithParam<CopyKind> {
 protected:
  Copies() {
    options.pipeline.buffer_size = Bytes(kBlock);
    options.pipeline.threads = 2;
    pool.create(kSnap);
    target = new_target("target");
  }

  static bool whole() { return GetParam() == CopyKind::kWhole; }
  // For a copy of what is mapped: a replica of the origin. For a whole one: garbage.
  std::shared_ptr<SimulatedDisk> new_target(const std::string& name) {
    auto contents = pool.origin().contents();
    contents.resize(kBlocks * kBlock + kMore);
    if (whole()) std::ranges::fill(contents, std::byte{0xee});
    return std::make_shared<SimulatedDisk>(world, "/images/" + name, contents);
  }
  uint32_t freeze() {
    pool.snapshot(next_id, kSnap);
    pool.commit();
    return next_id++;
  }
  Job job(uint32_t id) const { return pool.copy_job(directory, target, whole(), id, kSnap); }
  MergeReport run(const Job& of) {
    Progress progress;
    return Merger(of, options, progress, {}).merge([](const PlanReport&) { return true; });
  }
  // Copies a freeze, and removes it.
  MergeReport copy() {
    const uint32_t id = freeze();
    const auto origin = pool.origin().contents();
    const MergeReport report = run(job(id));
    EXPECT_EQ(report.state, JournalState::kDone);
    expect_target(id);
    EXPECT_EQ(first_difference(pool.origin().contents(), origin), "");
    pool.remove(id);
    return report;
  }
  void expect_target(uint32_t id, const std::string& where = "") {
    auto now = target->contents();
    now.resize(pool.thin_size().value());
    EXPECT_EQ(first_difference(now, pool.view(id)), "") << where;
  }
  void expect_round(uint64_t blocks) {
    const MergeReport report = copy();
    EXPECT_TRUE(report.plan.base) << report.plan.full_reason;
    EXPECT_EQ(report.counters.bytes_read, Bytes(blocks * kBlock));
  }
  void expect_full(const std::string& reason) {
    const MergeReport report = copy();
    EXPECT_FALSE(report.plan.base);
    EXPECT_EQ(report.plan.full_reason, reason);
  }
  std::unique_ptr<Journal> journal() { return Journal::open(*directory, "journal", false); }

  static constexpr uint64_t kMore = 4 * kBlock;  // the target is longer than the thin
  SimulatedWorld world;
  ThinPool pool{world, kBlocks, 8 * kBlocks};
  std::shared_ptr<SimulatedDirectory> directory = std::make_shared<SimulatedDirectory>(world);
  std::shared_ptr<SimulatedDisk> target;
  MergeOptions options;
  uint32_t next_id = 100;
};

INSTANTIATE_TEST_SUITE_P(Of, Copies, testing::Values(CopyKind::kMapped, CopyKind::kWhole),
                         [](const auto& kind) {
                           return kind.param == CopyKind::kWhole ? "whole" : "mapped";
                         });

TEST_P(Copies, BringTheTargetToTheState) {
  for (const uint64_t block : {0u, 1u, 5u, 11u}) pool.write(kSnap, block);
  const MergeReport report = copy();
  EXPECT_EQ(report.plan.full_reason, "no earlier copy to this target is known");
  EXPECT_EQ(report.counters.bytes_read, Bytes((whole() ? kBlocks : 4) * kBlock));
  EXPECT_EQ(journal()->record().copy->whole, whole());
  // The rest of the target, past the thin's end, is left alone.
  const auto end = target->contents();
  EXPECT_EQ(end.back(), whole() ? std::byte{0xee} : std::byte{0});
}

TEST_P(Copies, OfAThinThatMapsNothing) {
  pool.commit();
  const MergeReport report = copy();
  EXPECT_EQ(report.counters.bytes_read, Bytes(whole() ? kBlocks * kBlock : 0));
}

TEST_P(Copies, AgainAreRounds) {
  for (const uint64_t block : {0u, 1u, 5u, 11u}) pool.write(kSnap, block);
  copy();
  pool.write(kSnap, 1);
  pool.write(kSnap, 7);
  expect_round(2);
  pool.write(kSnap, 7);
  expect_round(1);
}

TEST_P(Copies, ADiscardedBlockGetsTheOriginsBytesAgain) {
  for (const uint64_t block : {0u, 1u, 5u, 6u, 11u}) pool.write(kSnap, block);
  copy();
  pool.discard(kSnap, 5);
  pool.write(kSnap, 1);
  expect_round(2);
  // A round later the journal still knows what the first copy has written.
  pool.discard(kSnap, 0);
  pool.discard(kSnap, 11);
  expect_round(2);
  pool.discard(kSnap, 6);
  pool.write(kSnap, 5);
  expect_round(2);
  pool.discard(kSnap, 5);
  expect_round(1);
}

TEST_P(Copies, AFullCopyPutsDiscardedBlocksBack) {
  for (const uint64_t block : {0u, 1u, 5u, 6u, 11u}) pool.write(kSnap, block);
  copy();
  pool.discard(kSnap, 5);
  options.round = RoundChoice::kFull;
  const MergeReport report = copy();
  EXPECT_FALSE(report.plan.base);
  EXPECT_EQ(report.counters.bytes_read, Bytes((whole() ? kBlocks : 5) * kBlock));
}

TEST_P(Copies, WithNothingNewAreDoneAlready) {
  pool.write(kSnap, 3);
  copy();
  const uint32_t id = freeze();
  EXPECT_EQ(failure([&] { run(job(id)); }).id(), MessageId::kAlreadyDone);
}

TEST_P(Copies, OfAnotherThinAreFullAndLeaveNothingOfTheFirst) {
  for (const uint64_t block : {0u, 4u, 5u}) pool.write(kSnap, block);
  copy();
  pool.remove(kSnap);
  pool.create(kSnap);
  pool.write(kSnap, 5);
  pool.write(kSnap, 9);
  const MergeReport report = copy();
  EXPECT_FALSE(report.plan.base);
}

TEST_P(Copies, OfAThinLongerThanItsOrigin) {
  pool.set_thin_size(Bytes((kBlocks + 3) * kBlock - 4096));
  pool.write(kSnap, 2);
  pool.write(kSnap, kBlocks + 1);
  if (!whole()) {
    // Past the origin's end such a target has to be zeros.
    copy();
    return;
  }
  const MergeReport report = copy();
  EXPECT_EQ(report.counters.bytes_read, pool.thin_size());
  pool.discard(kSnap, kBlocks + 1);
  expect_round(1);
}

TEST_P(Copies, OfAThinThatHasGrown) {
  pool.write(kSnap, 2);
  copy();
  pool.set_thin_size(Bytes((kBlocks + 2) * kBlock));
  pool.write(kSnap, kBlocks);
  expect_round(whole() ? 2 : 1);
}

TEST_P(Copies, AreComparedInFull) {
  options.verify = VerifyChoice::kFull;
  for (const uint64_t block : {0u, 1u, 5u, 6u}) pool.write(kSnap, block);
  copy();
  EXPECT_EQ(journal()->verified(), Verified::kEverything);
  pool.discard(kSnap, 5);
  pool.write(kSnap, 9);
  expect_round(2);
  EXPECT_EQ(journal()->verified(), Verified::kEverything);
}

TEST_P(Copies, ATargetThatLosesABlockIsNoticed) {
  options.verify = VerifyChoice::kFull;
  for (const uint64_t block : {0u, 1u, 5u, 6u}) pool.write(kSnap, block);
  copy();
  pool.discard(kSnap, 5);
  const uint32_t id = freeze();
  bool is_lost = false;
  world.on_operation([&](const Operation& operation) {
    if (operation.kind != OperationKind::kFlush || is_lost) return;
    is_lost = true;
    target->flip(Bytes(5 * kBlock + 40960));
  });
  EXPECT_EQ(failure([&] { run(job(id)); }).id(), MessageId::kDiffers);
  world.on_operation({});
  // The next run copies everything again, of what it knows to be written.
  run(job(id));
  expect_target(id);
}

TEST_P(Copies, CanBeVerifiedAlone) {
  for (const uint64_t block : {0u, 5u}) pool.write(kSnap, block);
  const uint32_t id = freeze();
  run(job(id));
  Progress progress;
  EXPECT_FALSE(Merger(job(id), options, progress, {}).verify().result.first_difference);
  target->flip(Bytes(5 * kBlock));
  EXPECT_EQ(Merger(job(id), options, progress, {}).verify().result.first_difference,
            Bytes(5 * kBlock));
  target->flip(Bytes(5 * kBlock));
  target->flip(Bytes(7 * kBlock));
  EXPECT_EQ(Merger(job(id), options, progress, {}).verify().result.first_difference.has_value(),
            whole());
}

TEST_P(Copies, ATargetThatWasWrittenToIsRefused) {
  pool.write(kSnap, 3);
  copy();
  target->flip(Bytes(0));
  pool.write(kSnap, 4);
  const uint32_t id = freeze();
  const Error error = failure([&] { run(job(id)); });
  EXPECT_EQ(error.id(), MessageId::kOriginChanged);
  EXPECT_STREQ(error.what(),
               "the target /images/target was written to since the last copy to it was done");
}

TEST_P(Copies, AgainMendsATargetThatWasWrittenToOnlyAsAWhole) {
  pool.write(kSnap, 3);
  copy();
  target->flip(Bytes(0));
  options.again = true;
  const uint32_t id = freeze();
  if (whole()) {
    run(job(id));
    expect_target(id);
  } else {
    EXPECT_STREQ(failure([&] { run(job(id)); }).what(),
                 "the target /images/target was written to since the last copy to it was done");
  }
}

TEST_P(Copies, SinceAnotherTargetsState) {
  for (const uint64_t block : {0u, 1u, 5u, 6u, 11u}) pool.write(kSnap, block);
  const uint32_t first = freeze();
  run(job(first));
  const auto at_first = target->contents();
  pool.remove(first);
  pool.write(kSnap, 1);
  pool.discard(kSnap, 5);
  pool.write(kSnap, 8);

  // The second target has the first one's contents, as an overlay over it.
  const auto base = journal();
  const auto second_directory = std::make_shared<SimulatedDirectory>(world, "/second");
  target = std::make_shared<SimulatedDisk>(world, "/images/second", at_first);
  const uint32_t second = freeze();
  Job next = pool.copy_job(second_directory, target, whole(), second, kSnap);
  next.since = base.get();
  const MergeReport report = run(next);
  EXPECT_TRUE(report.plan.base) << report.plan.full_reason;
  EXPECT_EQ(report.counters.bytes_read, Bytes(3 * kBlock));
  expect_target(second);
}

TEST_P(Copies, AJournalOfAMergeIsNotTaken) {
  pool.write(kSnap, 3);
  const uint32_t id = freeze();
  Job of_merge = pool.job(directory, id, kSnap);
  run(of_merge);
  Job of_copy = job(id);
  of_copy.origin.identity = of_merge.origin.identity;
  const Error error = failure([&] { run(of_copy); });
  EXPECT_EQ(error.id(), MessageId::kForeignJournal);
  EXPECT_STREQ(error.what(), "/state/journal is the journal of a merge, not of a copy");
}

TEST_P(Copies, WithTheOriginAsTargetAreRefused) {
  pool.write(kSnap, 3);
  const uint32_t id = freeze();
  Job same = job(id);
  same.origin.underlying_files = same.copy->origin.underlying_files;
  EXPECT_EQ(failure([&] { run(same); }).id(), MessageId::kStacked);
}

TEST_P(Copies, ToATargetThatIsTooShortAreRefused) {
  pool.set_thin_size(Bytes((kBlocks + 5) * kBlock));
  const uint32_t id = freeze();
  EXPECT_EQ(failure([&] { run(job(id)); }).id(), MessageId::kSizeChanged);
}

TEST_P(Copies, WithADamagedJournal) {
  pool.write(kSnap, 3);
  copy();
  auto damaged = directory->file("journal");
  damaged[70000] ^= std::byte{1};
  directory->put_file("journal", damaged);
  pool.discard(kSnap, 3);
  const uint32_t id = freeze();
  EXPECT_EQ(failure([&] { run(job(id)); }).id(), MessageId::kDamagedJournal);
  options.restart = true;
  if (whole()) {
    run(job(id));
    expect_target(id);
  } else {
    // Nobody knows which blocks of the target differ from the origin.
    EXPECT_EQ(failure([&] { run(job(id)); }).id(), MessageId::kDamagedJournal);
  }
}

TEST_P(Copies, AreUndone) {
  const auto before = target->contents();
  for (const uint64_t block : {0u, 5u}) pool.write(kSnap, block);
  const uint32_t id = freeze();
  Job with_log = job(id);
  with_log.undo_log = with_log.custody->undo_log_at("/state/undo");
  run(with_log);
  expect_target(id);
  Progress progress;
  Merger(job(id), options, progress, {}).undo([](const UndoReport&) { return true; });
  EXPECT_EQ(first_difference(target->contents(), before), "");
}

// A copy of what is mapped relies on the origin's content everywhere else.
TEST_P(Copies, OverAnotherOriginAreWholeOrRefused) {
  pool.write(kSnap, 3);
  copy();
  pool.write(kSnap, 4);
  const uint32_t id = freeze();
  Job other = job(id);
  other.copy->identity = "simulated:another";
  if (whole()) {
    EXPECT_EQ(run(other).plan.full_reason, "the thin had another external origin at the last copy");
    return;
  }
  EXPECT_EQ(failure([&] { run(other); }).id(), MessageId::kNoBase);
}

// As after a merge of another snapshot into the origin, or an undo.
TEST_P(Copies, OfAnOriginThatHasChangedAreWholeOrRefused) {
  uint64_t state = 1;
  const auto with_state = [&](uint32_t id) {
    Job of = job(id);
    of.origin_state = [&] { return state; };
    return of;
  };
  pool.write(kSnap, 3);
  uint32_t id = freeze();
  run(with_state(id));
  pool.origin().flip(Bytes(7 * kBlock));
  state = 2;
  id = freeze();
  if (whole()) {
    EXPECT_EQ(run(with_state(id)).plan.full_reason,
              "the external origin was merged into, or written to, since the last copy");
    expect_target(id);
    return;
  }
  EXPECT_EQ(failure([&] { run(with_state(id)); }).id(), MessageId::kNoBase);
}

TEST_P(Copies, OfAnOriginThatChangesMeanwhileAreNotDone) {
  uint64_t state = 1;
  pool.write(kSnap, 3);
  const uint32_t id = freeze();
  Job of = job(id);
  of.origin_state = [&] { return state; };
  world.on_operation([&](const Operation& operation) {
    if (operation.kind == OperationKind::kFlush) state = 2;
  });
  EXPECT_EQ(failure([&] { run(of); }).id(), MessageId::kStale);
  world.on_operation({});
  // The unfinished copy does not go on either.
  const MessageId refused = whole() ? MessageId::kStale : MessageId::kNoBase;
  EXPECT_EQ(failure([&] { run(of); }).id(), refused);
  EXPECT_EQ(journal()->state(), JournalState::kCopying);
}

// The journal of the shorter state could not tell what the target has past its end.
TEST_P(Copies, OfAThinThatWasCutAreWholeOrRefused) {
  pool.write(kSnap, 2);
  pool.write(kSnap, kBlocks - 1);
  copy();
  pool.set_thin_size(Bytes((kBlocks - 2) * kBlock));
  pool.write(kSnap, 3);
  if (whole()) {
    EXPECT_EQ(copy().plan.full_reason, "the thin was longer at the last copy");
    pool.set_thin_size(Bytes(kBlocks * kBlock));
    pool.discard(kSnap, kBlocks - 1);
    copy();
    return;
  }
  const uint32_t id = freeze();
  EXPECT_EQ(failure([&] { run(job(id)); }).id(), MessageId::kNoBase);
}

class WholeCopies : public Copies {};
INSTANTIATE_TEST_SUITE_P(Of, WholeCopies, testing::Values(CopyKind::kWhole));

TEST_P(WholeCopies, OfAThinThatHasGrownSinceOneStayWhole) {
  pool.write(kSnap, 2);
  copy();
  pool.set_thin_size(Bytes((kBlocks + 2) * kBlock));
  pool.write(kSnap, 3);
  const uint32_t id = freeze();
  EXPECT_EQ(failure([&] { run(pool.copy_job(directory, target, false, id, kSnap)); }).id(),
            MessageId::kNoBase);
  run(job(id));
  expect_target(id);
}

// A target that is no copy of the origin, and one that does not have the state of --since.
TEST_P(Copies, ToATargetWithoutWhatTheyLeaveOutAreRefused) {
  pool.write(kSnap, 2);
  pool.write(kSnap, 5);
  const uint32_t first = freeze();
  run(job(first));
  const auto base = journal();
  pool.write(kSnap, 7);
  const uint32_t id = freeze();
  std::vector<std::byte> blank(kBlocks * kBlock);
  const auto other = std::make_shared<SimulatedDirectory>(world, "/other");
  target = std::make_shared<SimulatedDisk>(world, "/images/blank", blank);
  Job since = pool.copy_job(other, target, whole(), id, kSnap);
  since.since = base.get();
  EXPECT_EQ(failure([&] { run(since); }).id(), MessageId::kOriginChanged);
  EXPECT_EQ(target->contents(), blank);
  if (whole()) return;
  const Job mapped = pool.copy_job(other, target, false, id, kSnap);
  EXPECT_EQ(failure([&] { run(mapped); }).id(), MessageId::kOriginChanged);
  EXPECT_EQ(target->contents(), blank);
}

// The base's own base does not limit what is checked.
TEST_P(Copies, SinceARoundOfAnotherThinAreRefused) {
  pool.create(2);
  for (const uint32_t thin : {kSnap, 2u}) {
    pool.write(thin, 3);
    pool.write(thin, 9);
  }
  copy();
  pool.write(kSnap, 4);
  copy();
  // By hand, a freeze of the other thin, which is later.
  pool.snapshot(50, 2);
  pool.snapshot(51, 2);
  pool.commit();
  options.round = RoundChoice::kSince;
  const Job other = pool.copy_job(directory, target, whole(), 51);
  const MessageId refused = failure([&] { run(other); }).id();
  EXPECT_TRUE(refused == MessageId::kOtherThin || refused == MessageId::kNoBase)
      << to_string(refused);
}

// A whole copy after one of what is mapped, and the reverse.
TEST_P(Copies, OfTheOtherKindAfterwards) {
  for (const uint64_t block : {0u, 5u}) pool.write(kSnap, block);
  copy();
  pool.discard(kSnap, 5);
  pool.write(kSnap, 6);
  const uint32_t id = freeze();
  const MergeReport report = run(pool.copy_job(directory, target, !whole(), id, kSnap));
  expect_target(id);
  EXPECT_EQ(report.plan.base.has_value(), whole());
  if (!whole()) {
    EXPECT_EQ(report.plan.full_reason, "the last copy was without --whole");
  }
}

// Any history of writes, discards, rounds of both kinds and lost bases.
TEST(CopiesOfAnyHistory, ShowWhatTheFreezeShowed) {
  EXPECT_TRUE(rc::check([] {
    SimulatedWorld world;
    ThinPool pool(world, kBlocks, 8 * kBlocks, *rc::gen::arbitrary<uint64_t>());
    pool.set_thin_size(Bytes((kBlocks + 3) * kBlock - 512 * *rc::gen::inRange<uint64_t>(0, 200)));
    pool.create(kSnap);
    auto contents = pool.origin().contents();
    contents.resize((kBlocks + 3) * kBlock);
    const auto replica = std::make_shared<SimulatedDisk>(world, "/images/replica", contents);
    std::ranges::fill(contents, std::byte{0xee});
    const auto other = std::make_shared<SimulatedDisk>(world, "/images/other", contents);
    const auto directory = std::make_shared<SimulatedDirectory>(world);
    const auto directory_of_other = std::make_shared<SimulatedDirectory>(world, "/other");
    MergeOptions options;
    options.pipeline.threads = 2;
    const auto rounds = *rc::gen::inRange<uint32_t>(1, 6);
    for (uint32_t id = 100; id < 100 + rounds; ++id) {
      for (auto deeds = *rc::gen::inRange(0, 8); deeds > 0; --deeds) {
        const auto block = *rc::gen::inRange<uint64_t>(0, kBlocks + 3);
        if (*rc::gen::inRange(0, 3) == 0) {
          pool.discard(kSnap, block);
        } else {
          pool.write(kSnap, block);
        }
      }
      pool.snapshot(id, kSnap);
      pool.commit();
      options.round = *rc::gen::inRange(0, 5) == 0 ? RoundChoice::kFull : RoundChoice::kAsKnown;
      for (const bool whole : {false, true}) {
        const auto& target = whole ? other : replica;
        Progress progress;
        try {
          Merger(pool.copy_job(whole ? directory_of_other : directory, target, whole, id, kSnap),
                 options, progress, {})
              .merge([](const PlanReport&) { return true; });
        } catch (const Error& error) {
          RC_ASSERT(error.id() == MessageId::kAlreadyDone);
        }
        auto now = target->contents();
        now.resize(pool.thin_size().value());
        RC_ASSERT(first_difference(now, pool.view(id)) == "");
      }
      pool.remove(id);
    }
  }));
}

}  // namespace
}  // namespace extmerge
