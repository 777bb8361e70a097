// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/journal/sample.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/merge/journal/journal_fixture.h"
#include "tests/support/simulated_world.h"

namespace extmerge {
namespace {

constexpr uint64_t kPiece = 64 << 10;

// A published plan and two disks with its result.
class SampleScene {
 public:
  explicit SampleScene(Runs runs, uint64_t logical_block = 512)
      : runs_(std::move(runs)),
        record_(record_for(runs_)),
        directory_(world_),
        journal_(publish_journal(directory_, runs_)),
        data_(world_, "data", pattern(end_of_data(), 1), Bytes(logical_block)),
        origin_(world_, "origin", pattern(record_.plan_end.value(), 2)) {
    const FileBytes data = data_.contents();
    for (const Run& run : runs_) {
      const Extent e = to_extent(run, record_.limits());
      origin_.overwrite(e.origin_offset,
                        std::span(data).subspan(e.data_offset.value(), e.length.value()));
    }
  }

  std::optional<uint64_t> sample(std::optional<uint64_t> position = {}) {
    const auto found =
        compare_sample(*journal_, data_, origin_, Bytes(position.value_or(planned())));
    if (!found) return std::nullopt;
    return found->value();
  }
  uint64_t fingerprint() { return origin_fingerprint(*journal_, origin_); }

  void flip(uint64_t at) { origin_.flip(Bytes(at)); }

  uint64_t planned() const { return record_.copy_bytes.value(); }
  uint64_t origin_size() const { return record_.plan_end.value(); }
  SimulatedWorld& world() { return world_; }

  // The reads of the origin since the last call: offset and length.
  std::set<std::pair<uint64_t, uint64_t>> read_of_origin() {
    std::set<std::pair<uint64_t, uint64_t>> reads;
    const auto history = world_.history();
    for (; seen_ < history.size(); ++seen_) {
      const Operation& o = history[seen_];
      if (o.object != "origin") continue;
      EXPECT_EQ(o.kind, OperationKind::kRead);
      reads.emplace(o.offset.value(), o.length.value());
    }
    return reads;
  }

 private:
  static FileBytes pattern(uint64_t size, uint64_t salt) {
    std::mt19937_64 random(salt);
    FileBytes bytes(size);
    for (uint64_t i = 0; i < size; i += 8) {
      const uint64_t word = random();
      std::memcpy(&bytes[i], &word, std::min<uint64_t>(8, size - i));
    }
    return bytes;
  }
  uint64_t end_of_data() const {
    uint64_t end = 0;
    for (const Run& run : runs_) end = std::max(end, (run.data + run.blocks).value());
    return end * kTestBlock;
  }

  const Runs runs_;
  const MergeRecord record_;
  SimulatedWorld world_;
  SimulatedDirectory directory_;
  std::unique_ptr<Journal> journal_;
  SimulatedDisk data_;
  SimulatedDisk origin_;
  size_t seen_ = 0;
};

Runs few_runs() { return {make_run(2, 7, 3), make_run(9, 0, 2)}; }

// 200 single blocks with gaps, backwards on the data disk.
Runs many_runs() {
  Runs runs;
  for (uint64_t i = 0; i < 200; ++i) runs.push_back(make_run(20 + 2 * i, 199 - i, 1));
  return runs;
}

TEST(Sample, WhatWasCopiedIsFoundEqual) {
  for (const Runs& runs : {few_runs(), many_runs(), Runs{make_run(0, 0, 1)}}) {
    for (const uint64_t logical_block : {512u, 4096u}) {
      SampleScene scene(runs, logical_block);
      EXPECT_EQ(scene.sample(), std::nullopt);
    }
  }
}

TEST(Sample, NothingIsReadBelowPositionZero) {
  SampleScene scene(few_runs());
  scene.flip(2 * kPiece);
  EXPECT_EQ(scene.sample(0), std::nullopt);
  EXPECT_TRUE(scene.read_of_origin().empty());
}

TEST(Sample, TheFirstAndTheLastPieceAreAlwaysCompared) {
  SampleScene first(many_runs());
  first.flip(20 * kPiece + 1000);
  EXPECT_EQ(first.sample(), 20 * kPiece + 1000);

  SampleScene last(many_runs());
  last.flip(last.origin_size() - 1);
  EXPECT_EQ(last.sample(), last.origin_size() - 1);
}

TEST(Sample, ADifferenceInASmallPlanIsAlwaysFoundAndInALargeOneSooner) {
  // The middle one of three pieces is missed once in 10^19 tries.
  SampleScene small({make_run(2, 7, 3)});
  small.flip(3 * kPiece + 77);
  EXPECT_EQ(small.sample(), 3 * kPiece + 77);
  // Half of 200 are wrong: missed once in 2^64.
  SampleScene large(many_runs());
  for (uint64_t i = 1; i < 199; i += 2) large.flip((20 + 2 * i) * kPiece + 5);
  EXPECT_TRUE(large.sample());
}

TEST(Sample, NothingAtOrPastThePositionCounts) {
  SampleScene scene(many_runs());
  const uint64_t position = 50 * kPiece + 4096;
  for (uint64_t i = 51; i < 200; ++i) scene.flip((20 + 2 * i) * kPiece);
  scene.flip((20 + 2 * 50) * kPiece + 4096);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(scene.sample(position), std::nullopt);
  scene.flip((20 + 2 * 50) * kPiece + 4095);
  EXPECT_EQ(scene.sample(position), (20 + 2 * 50) * kPiece + 4095);
}

TEST(Sample, AtMostSixtySixPiecesAreReadInDifferentPlacesEachTime) {
  SampleScene scene(many_runs());
  scene.sample();
  const auto one = scene.read_of_origin();
  scene.sample();
  const auto other = scene.read_of_origin();
  EXPECT_LE(one.size(), 66u);
  EXPECT_GT(one.size(), 30u);
  EXPECT_NE(one, other);
}

TEST(Sample, AFailedReadIsThrown) {
  SampleScene scene(few_runs());
  scene.world().on_operation([&](const Operation& o) {
    if (o.object == "origin") scene.world().fail_at(scene.world().operations(), {});
  });
  EXPECT_EQ(refusal([&] { scene.sample(); }), MessageId::kReadFailed);
  EXPECT_EQ(refusal([&] { scene.fingerprint(); }), MessageId::kReadFailed);
}

TEST(Fingerprint, IsTheSameUntilSomebodyWritesWhereItLooks) {
  SampleScene scene(many_runs());
  const uint64_t before = scene.fingerprint();
  const auto reads = scene.read_of_origin();
  EXPECT_EQ(scene.fingerprint(), before);
  EXPECT_EQ(scene.read_of_origin(), reads) << "always the same places";
  EXPECT_LE(reads.size(), 16u + 65 + 65);
  for (const auto& [offset, length] : reads) {
    scene.flip(offset + length - 1);
    EXPECT_NE(scene.fingerprint(), before) << offset;
    scene.flip(offset + length - 1);
  }
  EXPECT_EQ(scene.fingerprint(), before);
}

TEST(Fingerprint, LooksAtTheStartTheEndAndThePlan) {
  SampleScene scene(many_runs());
  scene.fingerprint();
  const auto reads = scene.read_of_origin();
  for (uint64_t i = 0; i < 16; ++i) EXPECT_TRUE(reads.contains({i * 4096, 4096})) << i;
  const uint64_t last = (scene.origin_size() - 1) / 4096 * 4096;
  EXPECT_TRUE(reads.contains({last, scene.origin_size() - last})) << "3,584 bytes";
  // The plan's first block, and enough of the others: blocks 20, 22, 24, ...
  EXPECT_TRUE(reads.contains({20 * kPiece, 4096}));
  size_t in_plan = 0;
  for (const auto& [offset, length] : reads)
    if (offset >= 20 * kPiece && offset / kPiece % 2 == 0) ++in_plan;
  EXPECT_GE(in_plan, 64u);
}

TEST(Fingerprint, SmallOriginsAndPlansAreReadOnceEach) {
  SampleScene scene({make_run(0, 0, 1)});
  scene.fingerprint();
  uint64_t bytes = 0;
  for (const auto& [offset, length] : scene.read_of_origin()) bytes += length;
  EXPECT_EQ(bytes, scene.origin_size());
  EXPECT_EQ(scene.read_of_origin().size(), 0u);
}

TEST(Fingerprint, AnEmptyPlanIsNoObstacle) {
  SampleScene scene(Runs{});
  const uint64_t before = scene.fingerprint();
  scene.flip(0);
  EXPECT_NE(scene.fingerprint(), before);
}

}  // namespace
}  // namespace extmerge
