// SPDX-License-Identifier: GPL-3.0-or-later
//
// The copy without faults, compared with a model of bytes.

#include "merge/copy/pipeline.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <thread>

#include "tests/merge/copy/pipeline_fixture.h"
#include "tests/support/merge_scene.h"

namespace extmerge {
namespace {

using Kind = OperationKind;

uint64_t count(const CopyScene& scene, Kind kind, const std::string& object) {
  const auto history = const_cast<CopyScene&>(scene).world().history();
  return static_cast<uint64_t>(
      std::count_if(history.begin(), history.end(),
                    [&](const Operation& o) { return o.kind == kind && o.object == object; }));
}

// Offset and end of every write to the origin, in rising order, with neighbours joined.
std::vector<std::pair<uint64_t, uint64_t>> written_ranges(CopyScene& scene) {
  std::map<uint64_t, uint64_t> writes;
  for (const Operation& o : scene.world().history()) {
    if (o.kind != Kind::kWrite) continue;
    EXPECT_EQ(o.object, "origin");
    EXPECT_TRUE(writes.emplace(o.offset.value(), (o.offset + o.length).value()).second);
  }
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [begin, end] : writes) {
    if (!ranges.empty() && ranges.back().second >= begin) {
      EXPECT_EQ(ranges.back().second, begin) << "written twice";
      ranges.back().second = end;
    } else {
      ranges.emplace_back(begin, end);
    }
  }
  return ranges;
}

std::vector<std::pair<uint64_t, uint64_t>> planned_ranges(const CopyScene& scene) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const PlannedRange& range : scene.ranges()) {
    if (!ranges.empty() && ranges.back().second == range.origin) {
      ranges.back().second += range.length;
    } else {
      ranges.emplace_back(range.origin, range.origin + range.length);
    }
  }
  return ranges;
}

void expect_complete(CopyScene& scene, const JournalProgress& end) {
  EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
  EXPECT_EQ(first_difference(scene.data().contents(), scene.first_data()), "");
  EXPECT_EQ(end.position.value(), scene.planned());
  EXPECT_EQ(scene.recorded(), scene.planned());
  EXPECT_EQ(scene.complaints(), "");
  EXPECT_EQ(scene.progress().done_bytes, scene.planned());
  EXPECT_EQ(scene.progress().durable_bytes, scene.planned());
}

TEST(Pipeline, ACopyWritesEachPlannedByteOnceAndNothingElse) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CopyScene scene(scattered_shape(30, seed));
    scene.watch_records();
    const JournalProgress end = scene.copy(small_pieces());
    EXPECT_EQ(written_ranges(scene), planned_ranges(scene));
    EXPECT_EQ(count(scene, Kind::kRead, "origin"), 0u);
    expect_complete(scene, end);
    EXPECT_EQ(end.counters.bytes_read.value(), scene.planned());
    EXPECT_EQ(end.counters.bytes_written.value(), scene.planned());
    EXPECT_EQ(end.counters.bytes_compared_equal.value(), 0u);
  }
}

RC_GTEST_PROP(Pipeline, AnyPlanWithAnyOptionsMakesTheOriginWhatTheModelSays, ()) {
  CopyShape shape =
      scattered_shape(*rc::gen::inRange<size_t>(1, 25), *rc::gen::inRange<uint64_t>(1, 1 << 30),
                      *rc::gen::arbitrary<bool>());
  shape.percent_equal = *rc::gen::element(0u, 50u, 95u, 100u);
  shape.data_logical_block = *rc::gen::element<uint64_t>(512, 4096);
  shape.origin_logical_block = *rc::gen::element<uint64_t>(1, 512);
  PipelineOptions options;
  options.compare =
      *rc::gen::element(CompareMode::kAuto, CompareMode::kAlways, CompareMode::kNever);
  options.io_size = Bytes(*rc::gen::element<uint64_t>(4096, 12288, 65536, 1 << 20));
  options.io_depth = *rc::gen::element(1u, 4u, 64u);
  options.buffer_size = Bytes(*rc::gen::element<uint64_t>(1, 4096, 20480, 65536, 200000, 1 << 20));
  options.threads = *rc::gen::element(0u, 1u, 2u, 7u);
  options.checkpoint_bytes = Bytes(*rc::gen::element<uint64_t>(0, 100000, 1 << 20));
  CopyScene scene(shape);
  scene.watch_records();
  const JournalProgress end = scene.copy(options);

  RC_ASSERT(first_difference(scene.origin().durable_contents(), scene.expected()) == "");
  RC_ASSERT(scene.complaints() == "");
  RC_ASSERT(scene.recorded() == scene.planned());
  RC_ASSERT(end.position.value() == scene.planned());
  RC_ASSERT(end.counters.bytes_read.value() == scene.planned());
  RC_ASSERT((end.counters.bytes_written + end.counters.bytes_compared_equal).value() ==
            scene.planned());
  uint64_t written = 0;
  for (const Operation& o : scene.world().history()) {
    RC_ASSERT(o.length <= options.io_size);
    if (o.kind == Kind::kWrite) written += o.length.value();
  }
  RC_ASSERT(written == end.counters.bytes_written.value());
}

TEST(Pipeline, ResumingFromAnyPieceEndsInTheSameOriginAndCountsOn) {
  const CopyShape shape = scattered_shape(12, 5);
  CopyScene whole(shape);
  whole.copy(small_pieces());
  for (uint64_t position = 0; position <= whole.planned(); position += 96 << 10) {
    CopyScene scene(shape);
    // The result of the earlier run.
    scene.origin().overwrite(Bytes(0), scene.expected_up_to(position));
    const JournalProgress start{Bytes(position), {Bytes(position), Bytes(7), Bytes(9)}};
    const JournalProgress end = scene.copy(small_pieces(), start);
    expect_complete(scene, end);
    EXPECT_EQ(end.counters.bytes_read.value(), scene.planned());
    EXPECT_EQ(end.counters.bytes_compared_equal.value(), 7u);
    EXPECT_EQ(end.counters.bytes_written.value(), scene.planned() - position + 9);
    uint64_t written = 0;
    for (const Operation& o : scene.world().history())
      if (o.kind == Kind::kWrite) written += o.length.value();
    EXPECT_EQ(written, scene.planned() - position) << "nothing is copied again";
  }
}

TEST(Pipeline, NeighboursTravelTogetherInBothOrders) {
  // Origin blocks 0 to 7 from data blocks 0 to 7, then 10 to 13 from data 23 down to 20.
  CopyShape shape;
  shape.runs = {make_run(0, 0, 8)};
  for (uint64_t i = 0; i < 4; ++i) shape.runs.push_back(make_run(10 + i, 23 - i, 1));
  shape.origin_size = 20 * 65536;
  CopyScene scene(shape);
  PipelineOptions options;
  options.compare = CompareMode::kNever;
  options.threads = 1;  // so many pieces, even if the plan is short
  scene.copy(options);
  std::vector<uint64_t> reads;
  std::vector<std::pair<uint64_t, uint64_t>> writes;
  for (const Operation& o : scene.world().history()) {
    if (o.kind == Kind::kRead) reads.push_back(o.offset.value() / 65536);
    if (o.kind == Kind::kWrite) writes.emplace_back(o.offset.value(), o.length.value());
  }
  EXPECT_EQ(reads, (std::vector<uint64_t>{0, 20, 21, 22, 23})) << "in the order of the data";
  EXPECT_EQ(writes,
            (std::vector<std::pair<uint64_t, uint64_t>>{{0, 8 * 65536}, {10 * 65536, 4 * 65536}}));
}

TEST(Pipeline, ATailOfOneSectorIsReadAsAWholeBlockAndWrittenAsOneSector) {
  CopyShape shape;
  shape.runs = {make_run(0, 3, 1), make_run(1, 1, 1)};
  shape.origin_size = 65536 + 512;
  shape.data_logical_block = 4096;
  for (const CompareMode mode : {CompareMode::kNever, CompareMode::kAlways}) {
    CopyScene scene(shape);
    expect_complete(scene, scene.copy(small_pieces(mode)));
    for (const Operation& o : scene.world().history()) {
      if (o.object == "origin" && o.kind != Kind::kFlush) {
        EXPECT_LE((o.offset + o.length).value(), shape.origin_size);
      }
      if (o.object == "data") {
        EXPECT_EQ(o.length.value() % 4096, 0u);
      }
    }
  }
}

TEST(Pipeline, ZeroesAreDataAndAreWritten) {
  CopyShape shape;
  shape.runs = {make_run(0, 0, 2)};
  shape.origin_size = 2 * 65536;
  for (const CompareMode mode : {CompareMode::kNever, CompareMode::kAuto, CompareMode::kAlways}) {
    CopyScene scene(shape);
    const FileBytes zeroes(2 * 65536);
    scene.data().overwrite(Bytes(0), zeroes);
    scene.copy(small_pieces(mode));
    EXPECT_EQ(first_difference(scene.origin().durable_contents(), zeroes), "");
  }
}

TEST(Pipeline, AnEmptyPlanIsFlushedAndRecordedOnce) {
  CopyShape shape;
  shape.runs = {};
  CopyScene scene(shape);
  const JournalProgress end = scene.copy(small_pieces());
  EXPECT_EQ(end.position, Bytes(0));
  EXPECT_EQ(scene.recorded(), 0u);
  EXPECT_EQ(scene.records().size(), 1u);
  EXPECT_EQ(count(scene, Kind::kFlush, "origin"), 1u);
}

TEST(Pipeline, TheEndIsNotRecordedTwice) {
  CopyShape shape;
  shape.runs = {make_run(0, 0, 4)};
  shape.origin_size = 4 * 65536;
  CopyScene scene(shape);
  PipelineOptions options = small_pieces();
  options.buffer_size = Bytes(4 * 65536);
  options.checkpoint_bytes = Bytes(4 * 65536);
  scene.copy(options);
  EXPECT_EQ(scene.records().size(), 1u);
  EXPECT_EQ(count(scene, Kind::kFlush, "origin"), 1u);
}

TEST(Pipeline, CheckpointsComeByBytesAndByTime) {
  const CopyShape shape = scattered_shape(40, 3);
  CopyScene by_bytes(shape);
  // The disk is so slow that checkpoints end before the copy.
  DeviceInFront slow(by_bytes.origin());
  slow.before_wait = [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); };
  by_bytes.put_before(nullptr, &slow);
  PipelineOptions options = small_pieces(CompareMode::kNever, 1);
  by_bytes.copy(options);
  EXPECT_GE(by_bytes.records().size(), 3u);
  for (size_t i = 1; i + 1 < by_bytes.records().size(); ++i) {
    EXPECT_GE(by_bytes.records()[i].position - by_bytes.records()[i - 1].position,
              options.checkpoint_bytes);
  }
  options.checkpoint_bytes = Bytes(1 << 30);
  CopyScene rarely(shape);
  rarely.copy(options);
  EXPECT_EQ(rarely.records().size(), 1u) << "only the end";

  options.checkpoint_time = std::chrono::milliseconds(0);
  CopyScene by_time(shape);
  DeviceInFront slow_too(by_time.origin());
  slow_too.before_wait = slow.before_wait;
  by_time.put_before(nullptr, &slow_too);
  by_time.copy(options);
  EXPECT_GT(by_time.records().size(), 1u);
}

// The differing units with gaps of at most 4 KiB, in each contiguous part of the plan on the
// origin. Computed sector by sector.
std::vector<std::pair<uint64_t, uint64_t>> differing_ranges(const CopyScene& scene) {
  const FileBytes wanted = scene.expected();
  const FileBytes& held = scene.first_origin();
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [begin, end] : planned_ranges(scene)) {
    const size_t first = ranges.size();
    for (uint64_t at = begin; at < end; at += 4096) {
      const uint64_t unit_end = std::min(at + 4096, end);
      if (std::equal(&wanted[at], &wanted[unit_end - 1] + 1, &held[at])) continue;
      if (ranges.size() > first && at - ranges.back().second <= 4096) {
        ranges.back().second = unit_end;
      } else {
        ranges.emplace_back(at, unit_end);
      }
    }
  }
  return ranges;
}

TEST(Pipeline, ComparingWritesExactlyTheUnitsThatDifferAndShortGapsBetweenThem) {
  for (const CompareMode mode : {CompareMode::kAlways, CompareMode::kAuto}) {
    for (const unsigned percent : {10u, 50u, 90u, 99u}) {
      CopyShape shape = scattered_shape(30, percent);
      shape.percent_equal = percent;
      CopyScene scene(shape);
      PipelineOptions options = small_pieces(mode);
      options.buffer_size = Bytes(8 << 20);  // a gap is not joined from piece to piece
      const JournalProgress end = scene.copy(options);
      EXPECT_EQ(written_ranges(scene), differing_ranges(scene)) << percent;
      EXPECT_LT(end.counters.bytes_written, end.counters.bytes_read);
      expect_complete(scene, end);
    }
  }
}

TEST(Pipeline, AnOriginThatHoldsEverythingIsNotWrittenButFlushedAndRecorded) {
  CopyShape shape = scattered_shape(30, 4);
  shape.percent_equal = 100;
  CopyScene scene(shape);
  const JournalProgress end = scene.copy(small_pieces(CompareMode::kAlways));
  EXPECT_EQ(count(scene, Kind::kWrite, "origin"), 0u);
  EXPECT_GE(count(scene, Kind::kFlush, "origin"), 1u);
  EXPECT_EQ(end.counters.bytes_compared_equal.value(), scene.planned());
  expect_complete(scene, end);
}

TEST(Pipeline, AutoStopsReadingTheOriginWhileAllOfItDiffers) {
  CopyShape shape;
  shape.runs = {make_run(0, 0, 16 * 16)};  // 16 MiB in one run
  shape.data_blocks = 16 * 16;
  shape.origin_size = 16 << 20;
  CopyScene scene(shape);
  PipelineOptions options = small_pieces(CompareMode::kAuto, 4);
  options.buffer_size = Bytes(512 << 10);
  expect_complete(scene, scene.copy(options));
  uint64_t compared = 0;
  for (const Operation& o : scene.world().history())
    if (o.kind == Kind::kRead && o.object == "origin") compared += o.length.value();
  EXPECT_GE(compared, 8u << 20);
  EXPECT_LE(compared, (8u << 20) + 4 * (512u << 10)) << "what was in flight at the verdict";
}

}  // namespace
}  // namespace extmerge
