// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan as pages: all runs can be read back, from any position.

#define XXH_INLINE_ALL
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>

#include "merge/journal/pages.h"
#include "tests/merge/journal/journal_fixture.h"

namespace extmerge {
namespace {

constexpr uint64_t kNonce = 0x0123456789abcdef;

struct WrittenPages {
  SimulatedWorld world;
  SimulatedDirectory directory{world};
  std::unique_ptr<DurableFile> file = directory.create("plan");
  uint64_t pages = 0;
  Bytes copy_bytes;

  WrittenPages(const Runs& runs, const PlanLimits& limits) {
    PlanPageWriter writer(*file, kNonce, limits);
    for (const Run& run : runs) writer.add(run);
    writer.finish();
    pages = writer.pages();
    copy_bytes = writer.position();
  }
  FileBytes page(uint64_t index) const {
    FileBytes bytes(kPlanPageSize);
    file->read(Bytes(kPlanOffset + index * kPlanPageSize), bytes);
    return bytes;
  }
};

PlanDigest digest_of(const Runs& runs, const PlanLimits& limits) {
  RunDigest digest;
  for (const Run& run : runs) digest.add(run);
  return digest.finish(limits);
}

// Any runs that rise, with gaps and lengths of all magnitudes.
Runs any_runs() {
  const auto of_any_size = [](unsigned most_bits) {
    const auto bits = *rc::gen::inRange<unsigned>(0, most_bits + 1);
    return *rc::gen::inRange<uint64_t>(0, uint64_t{1} << bits);
  };
  Runs runs;
  uint64_t thin = 0;
  const auto count = *rc::gen::inRange<size_t>(1, 60);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t blocks = 1 + of_any_size(20);
    const uint64_t data = of_any_size(39);
    thin += of_any_size(36);
    runs.push_back(make_run(thin, data, blocks));
    thin += blocks;
  }
  return runs;
}

PlanLimits limits_for(const Runs& runs, uint64_t cut) {
  const uint64_t blocks = runs.back().thin.value() + runs.back().blocks;
  return {DataBlockSize(Bytes(kTestBlock)), Bytes(blocks * kTestBlock - cut), {}};
}

TEST(PlanPages, AnyRunsComeBackAsTheyWere) {
  EXPECT_TRUE(rc::check([] {
    const Runs runs = any_runs();
    const PlanLimits limits = limits_for(runs, *rc::gen::inRange<uint64_t>(0, kTestBlock));
    const WrittenPages written(runs, limits);
    const PlanPages pages(*written.file, "plan", kMergeFormatVersion, kNonce, limits, written.pages,
                          written.copy_bytes);
    Bytes skip;
    RC_ASSERT(drain(*pages.runs_from(Bytes(0), skip)) == runs);
    pages.check_all(runs.size(), digest_of(runs, limits), {});
  }));
}

// A copy's journal has other contents, too, and runs that are only recorded.
TEST(PlanPages, AnyContentsComeBackAsTheyWere) {
  EXPECT_TRUE(rc::check([] {
    Runs runs = any_runs();
    for (extmerge::Run& run : runs) run.content = RunContent{*rc::gen::inRange<uint64_t>(0, 4)};
    const PlanLimits limits = limits_for(runs, *rc::gen::inRange<uint64_t>(0, kTestBlock));
    const WrittenPages written(runs, limits);
    Bytes copied;
    for (const extmerge::Run& run : runs) copied += to_extent(run, limits).length;
    RC_ASSERT(written.copy_bytes == copied);
    const PlanPages pages(*written.file, "plan", kCopyFormatVersion, kNonce, limits, written.pages,
                          written.copy_bytes);
    RC_ASSERT(drain(*pages.all_runs()) == runs);
    pages.check_all(runs.size(), digest_of(runs, limits), {});

    // From each run that is copied, all that follow come.
    Bytes position;
    for (size_t i = 0; i < runs.size(); ++i) {
      const Bytes length = to_extent(runs[i], limits).length;
      if (length == Bytes(0)) continue;
      Bytes skip;
      const Runs rest = drain(*pages.runs_from(position, skip));
      RC_ASSERT(std::ranges::equal(rest, std::span(runs).subspan(i)));
      position += length;
    }

    // Other runs, other digest; and a merge's journal has no such runs.
    Runs others = runs;
    others[0].content = RunContent{static_cast<uint64_t>(runs[0].content) ^ 1};
    RC_ASSERT(digest_of(others, limits) != digest_of(runs, limits));
    PlanPage page;
    const bool has_other = std::ranges::any_of(
        runs, [](const extmerge::Run& run) { return run.content != RunContent::kPoolData; });
    if (has_other && written.pages == 1) {
      RC_ASSERT(!decode_plan_page(written.page(0), kMergeFormatVersion, kNonce, 0, limits, page));
    }
  }));
}

TEST(PlanPages, FromAnyPositionTheRunsThereFollowAndTheExtentIsTheRightOne) {
  const Runs runs = scattered_runs(3000);
  const MergeRecord record = record_for(runs);
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  const auto journal = publish_journal(directory, runs);
  ASSERT_GT(directory.file(kTestName).size(), kPlanOffset + 3 * kPlanPageSize);

  Bytes begin;
  for (size_t i = 0; i < runs.size(); ++i) {
    const Extent whole = to_extent(runs[i], record.limits());
    for (const Bytes into : {Bytes(0), Bytes(1), whole.length - Bytes(1)}) {
      if (i % 7 > 1 && i + 5 < runs.size()) continue;
      const Extent rest{whole.origin_offset + into, whole.data_offset + into, whole.length - into};
      ASSERT_EQ(journal->extent_at(begin + into), rest) << "run " << i;
      Bytes skip;
      const auto source = journal->runs_from(begin + into, skip);
      ASSERT_EQ(skip, into);
      extmerge::Run run;
      for (size_t k = i; k < std::min(i + 3, runs.size()); ++k) {
        ASSERT_TRUE(source->next(run));
        ASSERT_EQ(run, runs[k]);
      }
    }
    if (i % 500 == 0) {
      Bytes skip;
      const Runs rest = drain(*journal->runs_from(begin, skip));
      ASSERT_TRUE(std::ranges::equal(rest, std::span(runs).subspan(i)));
    }
    begin += whole.length;
  }
  EXPECT_EQ(begin, record.copy_bytes);
  Bytes skip(1);
  extmerge::Run run;
  EXPECT_FALSE(journal->runs_from(begin, skip)->next(run));
  EXPECT_EQ(skip, Bytes(0));
  EXPECT_EQ(refusal([&] { journal->extent_at(begin); }), MessageId::kInternal);
  EXPECT_EQ(refusal([&] { journal->runs_from(begin + Bytes(1), skip); }), MessageId::kInternal);
}

TEST(PlanPages, EachPageCanBeDecodedByItself) {
  const Runs runs = scattered_runs(3000);
  const PlanLimits limits = limits_for(runs, 0);
  const WrittenPages written(runs, limits);
  Runs decoded;
  Bytes position = written.copy_bytes;
  for (uint64_t index = written.pages; index-- > 0;) {
    PlanPage page;
    ASSERT_TRUE(
        decode_plan_page(written.page(index), kMergeFormatVersion, kNonce, index, limits, page));
    EXPECT_EQ(page.end, position);
    position = page.position;
    decoded.insert(decoded.begin(), page.runs.begin(), page.runs.end());
  }
  EXPECT_EQ(position, Bytes(0));
  EXPECT_EQ(decoded, runs);
}

TEST(PlanPages, APageOfAnotherPlaceOrJournalOrPlanIsRefused) {
  const Runs runs = scattered_runs(3000);
  const PlanLimits limits = limits_for(runs, 0);
  const WrittenPages written(runs, limits);
  PlanPage page;
  const FileBytes first = written.page(0);
  EXPECT_TRUE(decode_plan_page(first, kMergeFormatVersion, kNonce, 0, limits, page));
  EXPECT_FALSE(decode_plan_page(first, kMergeFormatVersion, kNonce, 1, limits, page));
  EXPECT_FALSE(decode_plan_page(first, kMergeFormatVersion, kNonce + 1, 0, limits, page));
  const PlanLimits shorter{limits.block_size, Bytes(kTestBlock), {}};
  EXPECT_FALSE(decode_plan_page(first, kMergeFormatVersion, kNonce, 0, shorter, page));
}

TEST(PlanPages, SealedNonsenseIsRefusedAndReadsNothingOutOfBounds) {
  const Runs runs = scattered_runs(100);
  const PlanLimits limits = limits_for(runs, 0);
  const WrittenPages written(runs, limits);
  const FileBytes good = written.page(0);
  PlanPage page;
  ASSERT_TRUE(decode_plan_page(good, kMergeFormatVersion, kNonce, 0, limits, page));
  const PlanPage expected = page;
  EXPECT_TRUE(rc::check([&] {
    FileBytes bytes = good;
    const auto count = *rc::gen::inRange(1, 40);
    for (int i = 0; i < count; ++i)
      bytes[*rc::gen::inRange<size_t>(16, 600)] = std::byte(*rc::gen::arbitrary<uint8_t>());
    seal_part(bytes);
    if (!decode_plan_page(bytes, kMergeFormatVersion, kNonce, 0, limits, page)) return;
    // Accepted runs must be valid in a plan.
    ThinBlock least;
    Bytes length;
    for (const extmerge::Run& run : page.runs) {
      RC_ASSERT(run.thin >= least && run.blocks > 0);
      least = run.thin + run.blocks;
      length += to_extent(run, limits).length;
    }
    RC_ASSERT(limits.block_size.offset(least) <= limits.end);
    RC_ASSERT(page.end - page.position == length);
  }));
  for (const uint32_t count : {uint32_t{0}, uint32_t{101}, ~uint32_t{0}}) {
    FileBytes bytes = good;
    const le32 runs_claimed(count);
    std::memcpy(bytes.data() + offsetof(DiskPlanPage, run_count), &runs_claimed, 4);
    seal_part(bytes);
    EXPECT_FALSE(decode_plan_page(bytes, kMergeFormatVersion, kNonce, 0, limits, page)) << count;
  }
}

TEST(PlanPages, ANumberThatDoesNotFitOrDoesNotEndIsRefused) {
  const PlanLimits limits{DataBlockSize(Bytes(kTestBlock)), Bytes(100 * kTestBlock), {}};
  PlanPage page;
  const auto is_page = [&](const std::vector<int>& run) {
    DiskPlanPage disk{};
    disk.nonce.set(kNonce);
    disk.run_count.set(1);
    FileBytes bytes(kPlanPageSize);
    std::memcpy(bytes.data(), &disk, sizeof disk);
    std::ranges::transform(run, bytes.begin() + sizeof disk, [](int b) { return std::byte(b); });
    seal_part(bytes);
    return decode_plan_page(bytes, kMergeFormatVersion, kNonce, 0, limits, page);
  };
  EXPECT_TRUE(is_page({0x02, 0x00, 0x04}));
  EXPECT_EQ(page.runs, Runs{make_run(2, 0, 1)});
  EXPECT_TRUE(is_page({0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x00, 0x04}));
  // The tag of another content than pool data, of which no merge has any.
  for (const int tagged : {0x05, 0x06, 0x07}) EXPECT_FALSE(is_page({0x02, 0x00, tagged}));
  // 2^64 + 2 must not count as 2, and more than ten bytes are no number.
  EXPECT_FALSE(is_page({0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02, 0x00, 0x04}));
  EXPECT_FALSE(
      is_page({0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x00, 0x04}));
  EXPECT_FALSE(is_page(std::vector<int>(kPlanPageSize - sizeof(DiskPlanPage), 0xff)));
}

TEST(PlanPages, TheWorkedExampleOfTheDocumentationIsTrue) {
  const Runs runs = {make_run(2, 1000, 3), make_run(5, 40, 1), make_run(300, 41, 200)};
  const PlanLimits limits = limits_for(runs, 0);
  const WrittenPages written(runs, limits);
  ASSERT_EQ(written.pages, 1u);
  const std::vector<int> expected = {0x02, 0xd0, 0x0f, 0x0c, 0x00, 0x85, 0x0f,
                                     0x04, 0xa6, 0x02, 0x00, 0xa0, 0x06, 0x00};
  const FileBytes page = written.page(0);
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(std::to_integer<int>(page[28 + i]), expected[i]) << "byte " << i;
}

TEST(PlanPages, AMillionRunsTakeFewBytesEachAndLittleTime) {
  // A volume written at random, with data blocks allocated in turn: nearly every block is a run of
  // its own.
  std::mt19937_64 random(1);
  Runs runs;
  uint64_t thin = 0;
  while (runs.size() < 1000000) {
    thin += 1 + random() % 4;
    runs.push_back(make_run(thin++, random() % (uint64_t{1} << 28), 1));
  }
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  const MergeRecord record = record_for(runs);
  const auto start = std::chrono::steady_clock::now();
  publish_journal(directory, runs);
  const auto built = std::chrono::steady_clock::now();
  const auto journal = Journal::open(directory, kTestName, false);
  const auto opened = std::chrono::steady_clock::now();
  Bytes skip;
  EXPECT_EQ(drain(*journal->runs_from(Bytes(0), skip)), runs);
  const Bytes middle(500000 * kTestBlock);
  EXPECT_EQ(journal->extent_at(middle), to_extent(runs[500000], record.limits()));

  const double size = static_cast<double>(directory.file(kTestName).size() - kPlanOffset);
  const double bytes_per_run = size / static_cast<double>(runs.size());
  const auto milliseconds = [](auto time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  };
  std::printf("%.2f bytes a run, built in %ld ms, opened in %ld ms\n", bytes_per_run,
              static_cast<long>(milliseconds(built - start)),
              static_cast<long>(milliseconds(opened - built)));
  EXPECT_LT(bytes_per_run, 7.5);
}

TEST(RunDigest, CoversEachNumberOfEachRunAndTheLimits) {
  const Runs runs = scattered_runs(10);
  const PlanLimits limits = limits_for(runs, 0);
  const PlanDigest digest = digest_of(runs, limits);
  std::vector<Runs> others(6, runs);
  others[0][4].thin = ThinBlock(runs[4].thin.value() ^ 1);
  others[1][4].data = DataBlock(runs[4].data.value() ^ 1);
  others[2][4].blocks ^= 1;
  others[3].pop_back();
  std::swap(others[4][0].data, others[4][1].data);
  others[5].clear();
  for (const auto& other : others) EXPECT_NE(digest_of(other, limits), digest);
  EXPECT_NE(digest_of(runs, {limits.block_size, limits.end + Bytes(1), {}}), digest);
  EXPECT_NE(digest_of(runs, {DataBlockSize(Bytes(2 * kTestBlock)), limits.end, {}}), digest);
  EXPECT_EQ(digest_of(runs, {limits.block_size, limits.end, Bytes(7)}), digest);
  EXPECT_EQ(digest_of(runs, limits), digest);
}

TEST(RunDigest, OfPartsInAnyOrderAddsUpToThatOfTheWhole) {
  const Runs runs = scattered_runs(10);
  const PlanLimits limits = limits_for(runs, 0);
  RunDigest odd, even;
  for (size_t i = runs.size(); i-- > 0;) (i % 2 ? odd : even).add(runs[i]);
  even.add(odd);
  EXPECT_EQ(even.finish(limits), digest_of(runs, limits));
}

TEST(RunDigest, IsTheXxh3OfTheSumsOfTheXxh3OfEachRun) {
  const Runs runs = {make_run(1, 2, 3), make_run(9, 8, 7)};
  const PlanLimits limits{DataBlockSize(Bytes(65536)), Bytes(123456), {}};
  const auto hash_of = [](const std::vector<le64>& numbers) {
    return XXH3_128bits(numbers.data(), numbers.size() * sizeof(le64));
  };
  const XXH128_hash_t one = hash_of({le64(1), le64(2), le64(3)});
  const XXH128_hash_t other = hash_of({le64(9), le64(8), le64(7)});
  const XXH128_hash_t hash = hash_of(
      {le64(one.low64 + other.low64), le64(one.high64 + other.high64), le64(65536), le64(123456)});
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  EXPECT_EQ(to_string(digest_of(runs, limits)), text);
}

}  // namespace
}  // namespace extmerge
