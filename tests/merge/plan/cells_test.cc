// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/cells.h"
#include "merge/journal/pieces.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

#include "merge/journal/sample.h"
#include "tests/merge/journal/journal_fixture.h"
#include "tests/merge/merge_fixture.h"
#include "tests/support/simulated_world.h"

namespace extmerge {
namespace {

using Map = OriginMap;
constexpr uint64_t kMiB = 1 << 20;

Map block_map() { return Map(DataBlockSize(Bytes(kTestBlock))); }

std::vector<uint64_t> amounts(const Map& map, Map::Kind kind) {
  std::vector<uint64_t> found;
  for (const Map::Cell& cell : map.cells()) found.push_back(cell[kind]);
  return found;
}

TEST(OriginMap, ARangeIsSharedOutToTheCellsItLiesIn) {
  Map map = block_map();
  map.add(Map::kPlanned, Bytes(kTestBlock - 10), Bytes(kTestBlock + 30));
  EXPECT_EQ(amounts(map, Map::kPlanned), (std::vector<uint64_t>{10, kTestBlock, 20}));
  EXPECT_EQ(amounts(map, Map::kBeyond), (std::vector<uint64_t>{0, 0, 0}));
}

TEST(OriginMap, NothingIsNoCell) {
  Map map = block_map();
  map.add(Map::kPlanned, Bytes(5 * kTestBlock), Bytes(0));
  EXPECT_TRUE(map.cells().empty());
  EXPECT_EQ(map.total(Map::kPlanned), Bytes(0));
}

TEST(OriginMap, WhatLiesPastTheLastCellMakesThemLonger) {
  Map map = block_map();
  map.add(Map::kPlanned, Bytes(kTestBlock), Bytes(kTestBlock));
  map.add(Map::kPlanned, Bytes((Map::kMostCells - 1) * kTestBlock), Bytes(kTestBlock));
  EXPECT_EQ(map.cell_length(), Bytes(kTestBlock));
  map.add(Map::kDurable, Bytes(Map::kMostCells * kTestBlock), Bytes(1));
  EXPECT_EQ(map.cell_length(), Bytes(2 * kTestBlock));
  EXPECT_EQ(map.cells().size(), Map::kMostCells / 2 + 1);
  EXPECT_EQ(map.cells()[0][Map::kPlanned], kTestBlock);
  EXPECT_EQ(map.cells()[Map::kMostCells / 2 - 1][Map::kPlanned], kTestBlock);
  EXPECT_EQ(map.cells()[Map::kMostCells / 2][Map::kDurable], 1u);
}

TEST(OriginMap, AnOriginOfTheLargestSizeFitsAnEmptyMap) {
  Map map = block_map();
  map.add(Map::kPlanned, Bytes(INT64_MAX - kTestBlock), Bytes(kTestBlock));
  EXPECT_LE(map.cells().size(), Map::kMostCells);
  EXPECT_EQ(map.total(Map::kPlanned), Bytes(kTestBlock));
}

RC_GTEST_PROP(OriginMap, SaysTheSameWhateverCameFirst, ()) {
  const auto ranges = *rc::gen::container<std::vector<std::pair<uint64_t, uint64_t>>>(rc::gen::pair(
      rc::gen::inRange<uint64_t>(0, uint64_t{1} << 40), rc::gen::inRange<uint64_t>(0, 100 * kMiB)));
  Map forward = block_map(), backward = block_map();
  uint64_t all = 0;
  for (const auto& [offset, length] : ranges) {
    forward.add(Map::kPlanned, Bytes(offset), Bytes(length));
    all += length;
  }
  for (auto range = ranges.rbegin(); range != ranges.rend(); ++range)
    backward.add(Map::kPlanned, Bytes(range->first), Bytes(range->second));
  RC_ASSERT(forward.total(Map::kPlanned).value() == all);
  RC_ASSERT(amounts(forward, Map::kPlanned) == amounts(backward, Map::kPlanned));
  RC_ASSERT(forward.cells().size() <= Map::kMostCells);
}

Map::Cell cell(uint64_t planned, uint64_t compared, uint64_t different) {
  Map::Cell cell{};
  cell[Map::kPlanned] = planned;
  cell[Map::kCompared] = compared;
  cell[Map::kDifferent] = different;
  return cell;
}

TEST(OriginMap, ASampleStandsForItsCellAndForNoOther) {
  const PlannedShares none = shares_of(cell(100, 0, 0));
  EXPECT_EQ(none.unknown, Bytes(100));
  EXPECT_EQ(none.equal + none.different, Bytes(0));
  const PlannedShares sampled = shares_of(cell(1000, 100, 25));
  EXPECT_EQ(sampled.different, Bytes(250));
  EXPECT_EQ(sampled.equal, Bytes(750));
  EXPECT_EQ(sampled.unknown, Bytes(0));
  const PlannedShares exact = shares_of(cell(999999999999999999, 999999999999999999, 7));
  EXPECT_EQ(exact.different, Bytes(7));
}

class MapOfAJournal : public testing::Test {
 protected:
  MapOfAJournal() : journal(publish_journal(directory, runs)) {}
  Map map() { return map_of(*journal); }

  SimulatedWorld world;
  SimulatedDirectory directory{world};
  const Runs runs{make_run(1, 10, 2), make_run(5, 3, 1), make_run(6, 40, 3)};
  std::unique_ptr<Journal> journal;
};

TEST_F(MapOfAJournal, WhatIsDurableLiesBelowThePosition) {
  const auto planned =
      std::vector<uint64_t>{0,          kTestBlock, kTestBlock,      0, 0, kTestBlock,
                            kTestBlock, kTestBlock, kTestBlock - 512};  // clipped by a sector
  EXPECT_EQ(amounts(map(), Map::kPlanned), planned);
  EXPECT_EQ(map().total(Map::kDurable), Bytes(0));
  JournalProgress progress;
  progress.position = Bytes(2 * kTestBlock + 4096);
  journal->record_progress(progress);
  EXPECT_EQ(amounts(map(), Map::kDurable),
            (std::vector<uint64_t>{0, kTestBlock, kTestBlock, 0, 0, 4096, 0, 0, 0}));
  EXPECT_EQ(amounts(map(), Map::kPlanned), planned);
  progress.position = journal->record().copy_bytes;
  journal->record_progress(progress);
  journal->record_done(1);
  EXPECT_EQ(amounts(map(), Map::kDurable), planned);
}

TEST_F(MapOfAJournal, OnceAnUndoHasBegunNothingIsDurable) {
  JournalProgress progress;
  progress.position = Bytes(3 * kTestBlock);
  journal->record_progress(progress);
  journal->record_undoing();
  EXPECT_EQ(map().total(Map::kDurable), Bytes(0));
  journal->record_undone();
  EXPECT_EQ(map().total(Map::kDurable), Bytes(0));
  EXPECT_EQ(map().total(Map::kPlanned), journal->record().copy_bytes);
}

// Two disks and a plan of `count` blocks, whose halves lie in reverse order on the data device.
// Every `step`th block differs in 4 KiB, and all blocks are different from each other.
struct Drawing {
  Drawing(uint64_t count, uint64_t step)
      : blocks(count),
        data(world, "data", FileBytes(count * kTestBlock)),
        origin(world, "origin", FileBytes(count * kTestBlock)) {
    const auto mark = [](SimulatedDisk& disk, uint64_t block, uint64_t number) {
      FileBytes sector(512);
      std::memcpy(sector.data(), &number, sizeof number);
      for (const uint64_t at : {uint64_t{0}, kTestBlock - 512})
        disk.overwrite(Bytes(block * kTestBlock + at), sector);
    };
    const FileBytes other(512, std::byte{1});
    for (uint64_t block = 0; block < count; ++block) {
      mark(data, (block + count / 2) % count, block + 1);
      mark(origin, block, block + 1);
      if (block % step == 0) origin.overwrite(Bytes(block * kTestBlock + 8192), other);
    }
  }
  Map draw(uint64_t pieces, bool with_origin = true, std::stop_token stop = {}) {
    const uint64_t half = blocks / 2;
    ListedRuns runs({make_run(0, half, half), make_run(half, 0, half)});
    const Bytes all(blocks * kTestBlock);
    ExtentSource extents(runs, {DataBlockSize(Bytes(kTestBlock)), all, {}});
    Map map = block_map();
    failure = draw_plan(extents, all, Bytes(end.value_or(all.value())), data,
                        with_origin ? &origin : nullptr, Bytes(origin_end.value_or(all.value())),
                        pieces, stop, map);
    return map;
  }

  uint64_t blocks;
  std::optional<uint64_t> origin_end, end;
  std::optional<Error> failure;
  SimulatedWorld world;
  SimulatedDisk data, origin;
};

TEST(DrawPlan, ASmallPlanIsComparedAsAWhole) {
  Drawing drawing(300, 3);
  const Map map = drawing.draw(4096);
  EXPECT_EQ(map.total(Map::kCompared), Bytes(300 * kTestBlock));
  EXPECT_EQ(map.total(Map::kPlanned), Bytes(300 * kTestBlock));
  for (uint64_t block = 0; block < 300; ++block)
    ASSERT_EQ(map.cells()[block][Map::kDifferent], block % 3 == 0 ? 4096u : 0u) << block;
  EXPECT_EQ(shares_of(map).different, Bytes(100 * 4096));
}

// 600 blocks in cells of two: 30 pieces spread over the plan, and one in each cell without a piece.
TEST(DrawPlan, OfALargeOneASampleIsSpreadAndNoCellIsLeftOut) {
  Drawing drawing(600, 4);
  drawing.end = 2 * Map::kMostCells * kTestBlock;
  const Map map = drawing.draw(30);
  ASSERT_EQ(map.cells().size(), 300u);
  for (size_t cell = 0; cell < 300; ++cell) {
    const uint64_t compared = map.cells()[cell][Map::kCompared];
    ASSERT_TRUE(compared == kTestBlock || compared == 2 * kTestBlock) << cell;
  }
  EXPECT_FALSE(map.is_exact());
  EXPECT_LE(map.total(Map::kCompared), Bytes((300 + 30) * kTestBlock));
  EXPECT_EQ(map.total(Map::kPlanned), Bytes(600 * kTestBlock));
  EXPECT_EQ(shares_of(map).unknown, Bytes(0));
  // Every other cell differs, in the compared half or in both.
  EXPECT_NEAR(static_cast<double>(shares_of(map).different.value()), 150 * 8192, 30 * 4096);
}

TEST(DrawPlan, WhatCannotBeReadIsNotComparedAndAllElseIs) {
  Drawing drawing(300, 3);
  drawing.world.on_operation([&](const Operation& op) {
    if (op.object == "origin" && op.offset <= Bytes(5 * kTestBlock) &&
        op.offset + op.length > Bytes(5 * kTestBlock))
      drawing.world.fail_at(drawing.world.operations(), {});
  });
  const Map map = drawing.draw(4096);
  ASSERT_TRUE(drawing.failure);
  EXPECT_EQ(drawing.failure->id(), MessageId::kReadFailed);
  EXPECT_EQ(shares_of(map).unknown, Bytes(kTestBlock));
  EXPECT_EQ(map.cells()[5][Map::kCompared], 0u);
  EXPECT_EQ(map.total(Map::kCompared), Bytes(299 * kTestBlock));
  EXPECT_EQ(map.total(Map::kDifferent), Bytes(100 * 4096));
}

TEST(DrawPlan, WithoutAnOriginNothingIsCompared) {
  Drawing drawing(20, 2);
  const Map map = drawing.draw(4096, false);
  EXPECT_EQ(map.total(Map::kCompared), Bytes(0));
  EXPECT_EQ(shares_of(map).unknown, Bytes(20 * kTestBlock));
  EXPECT_TRUE(drawing.world.history().empty());
}

TEST(DrawPlan, WhatAnExtensionAddsIsPastTheEnd) {
  Drawing drawing(20, 2);
  drawing.origin_end = 10 * kTestBlock + 4096;
  const Map map = drawing.draw(4096);
  EXPECT_EQ(map.total(Map::kPlanned), Bytes(10 * kTestBlock + 4096));
  EXPECT_EQ(map.total(Map::kBeyond), Bytes(10 * kTestBlock - 4096));
}

TEST(DrawPlan, AStopEndsIt) {
  Drawing drawing(300, 3);
  std::stop_source stop;
  stop.request_stop();
  try {
    drawing.draw(4096, true, stop.get_token());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kStopped);
  }
}

// The map in the plan of a merge, end to end.
class PlanMap : public MergerTest {};

TEST_F(PlanMap, IsThereOnlyIfItWasAskedFor) {
  EXPECT_FALSE(merger().plan().map);
  options.draw_map = true;
  const PlanReport report = merger().plan();
  ASSERT_TRUE(report.map);
  EXPECT_EQ(report.map->total(Map::kPlanned), report.summary.copy_bytes);
  EXPECT_EQ(report.map->total(Map::kCompared), report.summary.copy_bytes);
  EXPECT_EQ(report.map->total(Map::kBeyond), report.summary.beyond_origin_bytes);
}

TEST_F(PlanMap, SaysAfterTheMergeThatAllIsEqual) {
  merge();
  options.draw_map = true;
  options.again = true;
  const PlanReport report = merger().plan();
  ASSERT_TRUE(report.map);
  EXPECT_EQ(shares_of(*report.map).equal, report.summary.copy_bytes);
}

TEST_F(PlanMap, HasWhatLiesPastTheOriginsEnd) {
  SceneShape shape = plain_shape();
  shape.origin_size = 7 * kBlock;
  set_up(shape);
  options.draw_map = true;
  options.beyond_origin = BeyondOriginChoice::kDrop;
  const PlanReport report = merger().plan();
  ASSERT_TRUE(report.map);
  EXPECT_EQ(report.map->total(Map::kBeyond), Bytes(2 * kBlock));  // blocks 7 and 11
  EXPECT_EQ(report.map->cells()[7][Map::kBeyond], kBlock);
  EXPECT_EQ(report.map->cells()[11][Map::kBeyond], kBlock);
}

}  // namespace
}  // namespace extmerge
