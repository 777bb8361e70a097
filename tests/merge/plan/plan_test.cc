// SPDX-License-Identifier: GPL-3.0-or-later
//
// Runs, clipping and counts, compared with a model that works block by block and byte by byte.

#include "merge/plan/runs.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "merge/plan/planned_tree.h"
#include "tests/support/memory_device.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {
namespace {

using RunList = std::vector<Run>;

struct Planned {
  std::vector<Run> runs;
  std::vector<Extent> beyond;
  PlanSummary summary;
};

PlanLimits limits(uint64_t end, std::optional<uint64_t> thin_end) {
  PlanLimits result{DataBlockSize(Bytes(kBlock)), Bytes(end), std::nullopt};
  if (thin_end) result.thin_end = Bytes(*thin_end);
  return result;
}

Planned plan(const std::vector<BuiltMapping>& mappings, const PlanLimits& within,
             const TreeShape& shape = {}, std::optional<uint64_t> details_say = {}) {
  MetadataBuilder pool(4096);
  const BuiltTree tree = pool.add_tree(mappings, shape);
  pool.add_mapping_root(1, tree.root());
  pool.add_details(1, details_say.value_or(mappings.size()));
  pool.finish();
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  const auto thin = find_device(reader, reader.live_superblock(), ThinId{1});
  // Reading in the order of places must give the same summary, or the same refusal.
  Planned scanned;
  PlannedTree scanned_tree(*thin, within, reader.nr_blocks());
  uint64_t read = 0;
  std::string refused;
  try {
    std::mutex lock;
    const auto count_read = [&](uint64_t mapped) {
      const std::lock_guard guard(lock);
      read += mapped;
    };
    scanned.summary = summarize(
        reader, *thin, DataBlock(1 << 20), within, {},
        [&](const Extent& e) { scanned.beyond.push_back(e); }, count_read, &scanned_tree);
  } catch (const Error& error) {
    refused = to_string(error.id());
  }
  Planned result;
  PlannedRuns runs(reader, *thin, DataBlock(1 << 20), within, {},
                   [&](const Extent& e) { result.beyond.push_back(e); });
  Run run;
  try {
    while (runs.next(run)) result.runs.push_back(run);
  } catch (const Error& error) {
    EXPECT_EQ(refused, to_string(error.id()));
    throw;
  }
  EXPECT_FALSE(runs.next(run)) << "the end is the end, however often it is asked for";
  result.summary = runs.summary();

  EXPECT_EQ(refused, "");
  EXPECT_EQ(scanned.summary, result.summary);
  EXPECT_EQ(read, mappings.size());
  const auto by_offset = [](const Extent& a, const Extent& b) {
    return a.origin_offset < b.origin_offset;
  };
  std::sort(scanned.beyond.begin(), scanned.beyond.end(), by_offset);
  EXPECT_EQ(scanned.beyond, result.beyond);
  for (uint64_t block = 0; block < reader.nr_blocks(); ++block) {
    const bool is_node = std::any_of(
        tree.levels.begin(), tree.levels.end(), [&](const std::vector<uint64_t>& level) {
          return std::find(level.begin(), level.end(), block) != level.end();
        });
    EXPECT_EQ(scanned_tree.nodes().contains(MetadataBlock(block)), is_node);
  }
  return result;
}

Run run(uint64_t thin, uint64_t data, uint64_t blocks) {
  return {ThinBlock(thin), DataBlock(data), blocks};
}

TEST(Plan, BlocksThatContinueOnBothSidesAreOneRun) {
  const Planned p = plan({{5, 50}, {6, 51}, {7, 52}}, limits(100 * kBlock, 100 * kBlock));
  EXPECT_EQ(p.runs, (RunList{run(5, 50, 3)}));
  EXPECT_EQ(p.summary.copy_bytes, Bytes(3 * kBlock));
  EXPECT_EQ(p.summary.end_of_copy, Bytes(8 * kBlock));
}

TEST(Plan, ABreakOnEitherSideEndsARun) {
  const Planned p = plan({{5, 50}, {6, 52}, {8, 53}, {9, 54}}, limits(100 * kBlock, 100 * kBlock));
  EXPECT_EQ(p.runs, (RunList{run(5, 50, 1), run(6, 52, 1), run(8, 53, 2)}));
}

TEST(Plan, ARunGoesOnFromLeafToLeaf) {
  std::vector<BuiltMapping> mappings;
  for (uint64_t i = 0; i < 1000; ++i) mappings.push_back({i, i + 7});
  const Planned p = plan(mappings, limits(1000 * kBlock, 1000 * kBlock), {.leaf_fill = 3});
  EXPECT_EQ(p.runs, (RunList{run(0, 7, 1000)}));
}

TEST(Plan, OfMoreLeavesThanOneThreadSweepsIsTheSame) {
  // 1,500 leaves in six batches, single blocks and runs over several leaves in turn.
  std::vector<BuiltMapping> mappings;
  for (uint64_t i = 0; i < 3000; ++i) mappings.push_back({i, i / 10 % 2 ? i : 50000 - i});
  const Planned p = plan(mappings, limits(2900 * kBlock + 512, 2950 * kBlock), {.leaf_fill = 2});
  EXPECT_EQ(p.summary.copy_blocks, 2901u);
  EXPECT_EQ(p.summary.beyond_thin_bytes, Bytes(50 * kBlock));
}

TEST(Plan, AnEmptyDeviceIsAnEmptyPlan) {
  const Planned p = plan({}, limits(10 * kBlock, 10 * kBlock));
  EXPECT_TRUE(p.runs.empty());
  EXPECT_EQ(p.summary.copy_bytes, Bytes(0));
}

TEST(Plan, ATailBlockIsCutAtTheOriginsEndAndTheRestIsBeyondIt) {
  const uint64_t origin = 2 * kBlock + 512;
  const Planned p = plan({{1, 10}, {2, 11}, {3, 12}}, limits(origin, 8 * kBlock));
  ASSERT_EQ(p.runs, (RunList{run(1, 10, 2)}));
  EXPECT_EQ(to_extent(p.runs[0], limits(origin, 8 * kBlock)).length, Bytes(kBlock + 512));
  EXPECT_EQ(p.summary.copy_bytes, Bytes(kBlock + 512));
  EXPECT_EQ(p.summary.end_of_copy, Bytes(origin));
  EXPECT_EQ(p.summary.beyond_origin_bytes, Bytes(2 * kBlock - 512));
  ASSERT_EQ(p.beyond.size(), 1u);
  EXPECT_EQ(p.beyond[0],
            (Extent{Bytes(origin), Bytes(11 * kBlock + 512), Bytes(2 * kBlock - 512)}));
}

TEST(Plan, WhatLiesPastTheThinsEndIsCountedAndNotLookedAt) {
  const Planned p = plan({{1, 10}, {2, 11}, {9, 12}}, limits(2 * kBlock, 2 * kBlock));
  EXPECT_EQ(p.runs, (RunList{run(1, 10, 1)}));
  EXPECT_EQ(p.summary.beyond_thin_bytes, Bytes(2 * kBlock));
  EXPECT_EQ(p.summary.beyond_origin_bytes, Bytes(0));
  EXPECT_TRUE(p.beyond.empty());
  EXPECT_EQ(p.summary.mapped_blocks, 3u);
  EXPECT_EQ(p.summary.copy_blocks, 1u);
}

TEST(Plan, WithoutAThinSizeEverythingPastTheOriginCountsAsVisible) {
  const Planned p = plan({{1, 10}, {5, 11}}, limits(2 * kBlock, std::nullopt));
  EXPECT_EQ(p.summary.beyond_origin_bytes, Bytes(kBlock));
  EXPECT_EQ(p.summary.beyond_thin_bytes, Bytes(0));
}

TEST(Plan, AMappedCountOtherThanInTheDetailsIsDamage) {
  try {
    plan({{1, 10}, {2, 11}}, limits(8 * kBlock, 8 * kBlock), {}, 3);
    FAIL() << "a plan was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kMetadataDamaged);
    EXPECT_NE(std::string(error.what()).find("details say 3"), std::string::npos);
  }
}

TEST(Plan, AThinBlockBeyondAnyDeviceIsDamageAndNoOverflow) {
  for (const uint64_t thin : {uint64_t{INT64_MAX} / kBlock, UINT64_MAX / kBlock, UINT64_MAX - 1}) {
    try {
      plan({{thin, 10}}, limits(8 * kBlock, 8 * kBlock));
      FAIL() << "a plan was made with thin block " << thin;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_status(), 9);
    }
  }
}

TEST(Plan, TheDigestTellsPlansApart) {
  const auto a = plan({{1, 10}, {2, 11}}, limits(8 * kBlock, 8 * kBlock)).summary.digest;
  EXPECT_EQ(a, plan({{1, 10, 9}, {2, 11, 8}}, limits(8 * kBlock, 8 * kBlock), {.leaf_fill = 1})
                   .summary.digest)
      << "neither the times nor the tree's shape are part of the plan";
  EXPECT_NE(a, plan({{1, 10}, {2, 12}}, limits(8 * kBlock, 8 * kBlock)).summary.digest);
  EXPECT_NE(a, plan({{1, 10}, {2, 11}}, limits(7 * kBlock, 8 * kBlock)).summary.digest);
}

// One random pool.
void compare_with_model() {
  const auto thin_blocks = *rc::gen::container<std::set<uint64_t>>(rc::gen::inRange(0, 40));
  std::vector<BuiltMapping> mappings;
  for (const uint64_t thin : thin_blocks) {
    // Often use the next data block, so that runs arise.
    uint64_t data = mappings.empty() ? 0 : mappings.back().data + 1;
    if (*rc::gen::inRange(0, 3) == 0) data += 5;
    mappings.push_back({thin, data});
  }
  const uint64_t origin = 512 * *rc::gen::inRange<uint64_t>(1, 40 * 128);
  const bool known = *rc::gen::arbitrary<bool>();
  const uint64_t thin_end = 512 * *rc::gen::inRange<uint64_t>(1, 40 * 128);
  const uint64_t end = known ? std::min(origin, thin_end) : origin;
  const PlanLimits within = limits(end, known ? std::optional(thin_end) : std::nullopt);
  const auto fill = *rc::gen::inRange<uint32_t>(1, 6);
  const Planned p = plan(mappings, within, {.leaf_fill = fill});

  // The model handles every sector of every mapped block by itself.
  std::map<uint64_t, uint64_t> copied, expected;
  uint64_t beyond_origin = 0, beyond_thin = 0;
  for (const BuiltMapping& m : mappings) {
    for (uint64_t s = 0; s < kBlock; s += 512) {
      const uint64_t at = m.thin * kBlock + s;
      if (known && at >= thin_end) {
        beyond_thin += 512;
      } else if (at >= origin) {
        beyond_origin += 512;
      } else {
        expected[at] = m.data * kBlock + s;
      }
    }
  }
  Run previous;
  for (const Run& r : p.runs) {
    RC_ASSERT(!(previous.blocks > 0 && previous.thin + previous.blocks == r.thin &&
                previous.data + previous.blocks == r.data));
    previous = r;
    const Extent e = to_extent(r, within);
    for (uint64_t s = 0; s < e.length.value(); s += 512) {
      copied[e.origin_offset.value() + s] = e.data_offset.value() + s;
    }
  }
  RC_ASSERT(copied == expected);
  RC_ASSERT(p.summary.copy_bytes == Bytes(expected.size() * 512));
  RC_ASSERT(p.summary.beyond_origin_bytes == Bytes(beyond_origin));
  RC_ASSERT(p.summary.beyond_thin_bytes == Bytes(beyond_thin));
}

TEST(Plan, EqualsAModelOfSingleSectorsForAnyMappings) {
  EXPECT_TRUE(rc::check(compare_with_model));
}

class Listed : public RunSource {
 public:
  explicit Listed(std::vector<Run> runs) : runs_(std::move(runs)) {}
  bool next(Run& out) override {
    if (at_ == runs_.size()) return false;
    out = runs_[at_++];
    return true;
  }

 private:
  std::vector<Run> runs_;
  size_t at_ = 0;
};

TEST(ExtentSource, CutsExtentsToTheLengthAskedForAndSkips) {
  const PlanLimits within = limits(10 * kBlock, 10 * kBlock);
  Listed runs({run(1, 5, 2), run(9, 20, 1)});
  ExtentSource extents(runs, within, Bytes(kBlock + 4096));
  EXPECT_EQ(extents.next(Bytes(8192)),
            (Extent{Bytes(2 * kBlock + 4096), Bytes(6 * kBlock + 4096), Bytes(8192)}));
  EXPECT_EQ(extents.next(Bytes(1 << 30)),
            (Extent{Bytes(2 * kBlock + 12288), Bytes(6 * kBlock + 12288), Bytes(kBlock - 12288)}));
  EXPECT_EQ(extents.next(Bytes(1 << 30)),
            (Extent{Bytes(9 * kBlock), Bytes(20 * kBlock), Bytes(kBlock)}));
  EXPECT_EQ(extents.next(Bytes(1 << 30)), std::nullopt);
}

TEST(ExtentSource, SkippingPastEverythingIsTheEnd) {
  Listed runs({run(1, 5, 2)});
  ExtentSource extents(runs, limits(10 * kBlock, 10 * kBlock), Bytes(2 * kBlock));
  EXPECT_EQ(extents.next(Bytes(4096)), std::nullopt);
}

}  // namespace
}  // namespace extmerge
