// SPDX-License-Identifier: GPL-3.0-or-later
//
// compare_extents(): finds every difference, and writes nothing.

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "tests/merge/copy/pipeline_fixture.h"
#include "tests/support/memory_device.h"

namespace extmerge {
namespace {

bool only_read(CopyScene& scene) {
  for (const Operation& o : scene.world().history())
    if (o.kind != OperationKind::kRead) return false;
  return true;
}

TEST(CompareExtents, AMergedOriginIsEqualThroughout) {
  CopyScene scene(scattered_shape(30, 1));
  scene.origin().overwrite(Bytes(0), scene.expected());
  const VerifyResult result = scene.compare(small_pieces());
  EXPECT_EQ(result.bytes_compared.value(), scene.planned());
  EXPECT_EQ(result.bytes_different.value(), 0u);
  EXPECT_FALSE(result.first_difference);
  EXPECT_TRUE(only_read(scene));
  EXPECT_EQ(scene.progress().done_bytes, scene.planned());
  EXPECT_EQ(scene.progress().durable_bytes, 0u);
}

RC_GTEST_PROP(CompareExtents, EveryChangedByteIsFoundAndNoOther, ()) {
  CopyScene scene(scattered_shape(20, *rc::gen::inRange<uint64_t>(1, 1 << 30)));
  const FileBytes expected = scene.expected();
  FileBytes origin = expected;
  for (const uint64_t at :
       *rc::gen::container<std::vector<uint64_t>>(rc::gen::inRange<uint64_t>(0, origin.size()))) {
    origin[at] = ~origin[at];
  }
  std::map<uint64_t, uint64_t> units;  // that differ, and their lengths
  std::optional<Bytes> first;
  for (const PlannedRange& range : scene.ranges()) {
    for (uint64_t at = range.origin; at < range.origin + range.length; ++at) {
      if (origin[at] == expected[at]) continue;
      if (!first) first = Bytes(at);
      const uint64_t unit = at / 4096 * 4096;
      units[unit] = std::min<uint64_t>(4096, origin.size() - unit);
    }
  }
  uint64_t different = 0;
  for (const auto& [unit, length] : units) different += length;

  scene.origin().overwrite(Bytes(0), origin);
  const VerifyResult result = scene.compare(small_pieces());
  RC_ASSERT(result.bytes_compared.value() == scene.planned());
  RC_ASSERT(result.bytes_different.value() == different);
  RC_ASSERT(result.first_difference == first);
  RC_ASSERT(only_read(scene));
}

TEST(CompareExtents, EachExtentBeginsAtAPageOfMemoryAlsoBehindOneOfOddLength) {
  const FileBytes contents(8 * kTestBlock);
  MemoryDevice data(contents, "data");
  MemoryDevice origin(contents, "origin");
  unsigned requests = 0;
  const auto check = [&](IoRequest& request) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(request.memory.data()) % 4096, 0u);
    ++requests;
  };
  data.on_request(check);
  origin.on_request(check);
  ListedRuns runs({make_run(0, 5, 1), make_run(2, 3, 1)});
  // The state after a rate-limited copy that was stopped behind its first sector.
  const PlanLimits limits{DataBlockSize(Bytes(kTestBlock)), Bytes(contents.size()), {}};
  ExtentSource extents(runs, limits, Bytes(512));
  Progress progress;
  PipelineOptions options;
  options.threads = 1;  // all that a MemoryDevice can take
  compare_extents({data, origin, extents, {Bytes(512), {}}}, options, progress, {});
  EXPECT_EQ(requests, 4u);
}

TEST(CompareExtents, AFailedReadOnEitherSideIsThrown) {
  const CopyShape shape = scattered_shape(10, 2);
  CopyScene counted(shape);
  counted.compare(small_pieces());
  for (uint64_t i = 0; i < counted.world().operations(); ++i) {
    CopyScene scene(shape);
    scene.world().fail_at(i, {});
    EXPECT_EQ(refusal([&] { scene.compare(small_pieces()); }), MessageId::kReadFailed) << i;
  }
}

TEST(CompareExtents, AStopIsThrownWithHowFarItCame) {
  CopyScene scene(scattered_shape(30, 3));
  std::stop_source stop;
  scene.world().on_operation([&](const Operation& o) {
    if (o.object == "origin" && scene.world().operations() >= 10) stop.request_stop();
  });
  EXPECT_EQ(refusal([&] { scene.compare(small_pieces(CompareMode::kNever, 2), stop.get_token()); }),
            MessageId::kStopped);
  EXPECT_LT(scene.progress().done_bytes, scene.planned());
}

}  // namespace
}  // namespace extmerge
