// SPDX-License-Identifier: GPL-3.0-or-later
//
// Maps of a thin's contents, on a simulated pool that keeps times as the kernel does. Each range is
// compared with what the thin shows, and with what the base shows.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/merge/rounds_fixture.h"

namespace extmerge {
namespace {

class Contents : public Rounds {
 protected:
  std::vector<ContentRange> list(const Job& job, const ContentsBase& base) {
    std::vector<ContentRange> ranges;
    report = merger(job).list_contents(base, [&](const ContentsReport& found) {
      EXPECT_TRUE(ranges.empty());
      report = found;
      return [&](const ContentRange& range) { ranges.push_back(range); };
    });
    return ranges;
  }
  // The ranges cover the thin, neighbours differ, and each shows what it says.
  void expect_true(const std::vector<ContentRange>& ranges, const ThinPool::Contents& now,
                   const ThinPool::Contents& then) {
    std::array<Bytes, kContents> bytes{};
    Bytes end;
    for (size_t i = 0; i < ranges.size(); ++i) {
      const ContentRange& range = ranges[i];
      ASSERT_EQ(range.offset, end);
      ASSERT_GT(range.length, Bytes(0));
      if (i > 0) {
        EXPECT_NE(range.content, ranges[i - 1].content);
      }
      end += range.length;
      bytes[static_cast<size_t>(range.content)] += range.length;
      const auto part = [&](const ThinPool::Contents& whole) {
        const auto first = whole.begin() + static_cast<ptrdiff_t>(range.offset.value());
        return ThinPool::Contents(first, first + static_cast<ptrdiff_t>(range.length.value()));
      };
      const bool is_same = range.content == Content::kSame;
      if (is_same || range.content == Content::kOrigin) {
        EXPECT_EQ(part(now), part(is_same ? then : pool->origin().contents())) << i;
      }
    }
    EXPECT_EQ(end, pool->thin_size());
    EXPECT_EQ(report.bytes, bytes);
    EXPECT_EQ(report.ranges, ranges.size());
  }
  Error failure_of(const Job& job, const ContentsBase& base) {
    return failure([&] { list(job, base); });
  }

  ContentsReport report;
};

TEST_F(Contents, WithoutABaseARangeIsOwnDataOrTheOrigins) {
  for (const uint64_t block : {0u, 1u, 5u, 11u}) pool->write(kSnap, block);
  const uint32_t id = freeze();
  const auto ranges = list(pool->job(directory, id), {});
  expect_true(ranges, pool->view(id), {});
  ASSERT_EQ(ranges.size(), 5u);
  EXPECT_EQ(ranges[0].content, Content::kPoolData);
  EXPECT_EQ(ranges[1].content, Content::kOrigin);
  EXPECT_EQ(report.of(Content::kPoolData), Bytes(4 * ThinPool::kBlockSize));
  EXPECT_EQ(report.of(Content::kSame), Bytes(0));
}

TEST_F(Contents, BesideTheOriginOnlyOwnDataDiffers) {
  pool->write(kSnap, 3);
  const uint32_t id = freeze();
  const auto ranges = list(pool->job(directory, id), {true, nullptr});
  expect_true(ranges, pool->view(id), pool->origin().contents());
  EXPECT_EQ(report.of(Content::kOrigin), Bytes(0));
  EXPECT_EQ(report.of(Content::kPoolData), Bytes(ThinPool::kBlockSize));
}

TEST_F(Contents, AThinWithoutMappingsIsTheOrigin) {
  const uint32_t id = freeze();
  const auto ranges = list(pool->job(directory, id), {});
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].content, Content::kOrigin);
}

// Past the origin's end, and only there, nothing means zeros.
TEST_F(Contents, PastTheOriginsEndAreZeros) {
  pool->write(kSnap, 11);
  const uint32_t id = freeze();
  Job job = pool->job(directory, id);
  job.thin_size = pool->thin_size() + Bytes(3 * ThinPool::kBlockSize + 512);
  const auto ranges = list(job, {true, nullptr});
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_EQ(ranges[2], (ContentRange{pool->thin_size(), Bytes(3 * ThinPool::kBlockSize + 512),
                                     Content::kZeros}));
  job.thin_size = Bytes(512);  // a thin that was cut shows no more than that
  const auto cut = list(job, {});
  ASSERT_EQ(cut.size(), 1u);
  EXPECT_EQ(cut[0], (ContentRange{Bytes(0), Bytes(512), Content::kOrigin}));
}

// Random writes, zeros, discards and snapshots between a merge and the next freeze.
TEST_F(Contents, SinceAMergeEveryRangeThatIsTheSameShowsWhatItShowedThen) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    begin(seed);
    SimulatedRandom random(seed);
    for (unsigned i = 0; i < 8; ++i) pool->write(kSnap, random_below(random, kThinBlocks));
    const uint32_t first = freeze();
    const auto then = pool->view(first);
    merge_job(pool->job(directory, first, kSnap));
    pool->remove(first);
    for (unsigned i = 0; i < 6; ++i) {
      const uint64_t block = random_below(random, kThinBlocks);
      const uint64_t deed = random_below(random, 8);
      if (deed < 4) pool->write(kSnap, block, deed == 0);
      if (deed == 4) pool->discard(kSnap, block);
      if (deed == 5) freeze();
      if (deed == 6) pool->provision(kSnap, block);
    }
    const uint32_t second = freeze();
    const auto last = journal();
    const auto ranges = list(pool->job(directory, second), {false, last.get()});
    expect_true(ranges, pool->view(second), then);
    EXPECT_EQ(report.of(Content::kOrigin), Bytes(0)) << seed;
    EXPECT_GT(report.of(Content::kSame), Bytes(0)) << seed;
  }
}

TEST_F(Contents, AMergeThatIsNoBaseIsRefused) {
  write_all();
  pool->create(kOther);
  pool->write(kOther, 3);
  const uint32_t first = freeze();
  merge_job(pool->job(directory, first, kSnap));
  pool->write(kSnap, 2);
  const uint32_t second = freeze();
  const auto last = journal();
  // The thin is another one, and its mappings tell.
  const uint32_t other = freeze(kOther);
  EXPECT_EQ(failure_of(pool->job(directory, other), {false, last.get()}).id(),
            MessageId::kOtherThin);
  // The origin was written to.
  pool->origin().flip(Bytes(5));
  EXPECT_EQ(failure_of(pool->job(directory, second), {false, last.get()}).id(), MessageId::kNoBase);
  pool->origin().flip(Bytes(5));
  EXPECT_EQ(failure_of(pool->job(directory, second), {false, last.get()}).id(),
            MessageId::kInternal);  // nothing failed
  // The merge is unfinished.
  const uint32_t unfinished = interrupt_round();
  const auto begun = journal();
  ASSERT_EQ(begun->state(), JournalState::kCopying);
  const Error of_unfinished = failure_of(pool->job(directory, unfinished), {false, begun.get()});
  EXPECT_EQ(of_unfinished.id(), MessageId::kNoBase);
  EXPECT_NE(std::string(of_unfinished.what()).find("is unfinished"), std::string::npos);
}

TEST_F(Contents, WithoutTheThinsSizeThereIsNoMap) {
  Job job = pool->job(directory, freeze());
  job.thin_size = {};
  EXPECT_EQ(failure_of(job, {}).id(), MessageId::kUsage);
}

}  // namespace
}  // namespace extmerge
