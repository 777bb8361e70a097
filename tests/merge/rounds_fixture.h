// SPDX-License-Identifier: GPL-3.0-or-later
//
// Rounds on a simulated pool, which keeps times as the kernel does. After each merge the origin is
// compared byte by byte with the contents that the freeze had.

#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "merge/journal/sample.h"
#include "merge/merge.h"
#include "tests/support/failure.h"
#include "tests/support/merge_scene.h"
#include "tests/support/thin_pool.h"

namespace extmerge {

class Rounds : public testing::Test {
 protected:
  static constexpr uint32_t kSnap = 1;
  static constexpr uint32_t kOther = 2;
  static constexpr uint64_t kThinBlocks = 12;

  Rounds() { begin(1); }

  void begin(uint64_t seed) {
    pool = std::make_unique<ThinPool>(world, kThinBlocks, 8 * kThinBlocks, seed);
    directory = std::make_shared<SimulatedDirectory>(world);
    next_id = 100;
    options = {};
    options.pipeline.buffer_size = Bytes(ThinPool::kBlockSize);
    options.pipeline.threads = 2;
    pool->create(kSnap);
  }

  uint32_t freeze(uint32_t thin = kSnap) {
    pool->snapshot(next_id, thin);
    pool->commit();
    return next_id++;
  }
  Merger merger(const Job& job) { return Merger(job, options, progress, {}); }
  MergeReport merge_job(const Job& job) {
    return merger(job).merge([](const PlanReport&) { return true; });
  }
  // Merges a freeze of the thin, and removes it.
  MergeReport merge(uint32_t thin = kSnap) {
    const uint32_t id = freeze(thin);
    const auto expected = pool->view(id);
    const MergeReport report = merge_job(pool->job(directory, id, thin));
    EXPECT_EQ(report.state, JournalState::kDone);
    EXPECT_EQ(first_difference(pool->origin().contents(), expected), "");
    pool->remove(id);
    return report;
  }
  // The next merge is a full one, for a reason with these words.
  void expect_full(const std::string& reason, uint32_t thin = kSnap) {
    const MergeReport report = merge(thin);
    EXPECT_FALSE(report.plan.base) << reason;
    EXPECT_NE(report.plan.full_reason.find(reason), std::string::npos) << report.plan.full_reason;
  }
  void expect_round(uint64_t blocks) {
    const MergeReport report = merge();
    EXPECT_TRUE(report.plan.base) << report.plan.full_reason;
    EXPECT_EQ(report.plan.full_reason, "");
    EXPECT_EQ(report.plan.summary.copy_blocks, blocks);
    EXPECT_EQ(report.counters.bytes_read, Bytes(blocks * ThinPool::kBlockSize));
  }
  void write_all() {
    for (uint64_t block = 0; block < kThinBlocks; ++block) pool->write(kSnap, block);
  }
  // Begins a round of six blocks, and cuts the power when a part of it is recorded. Returns the
  // round's freeze.
  uint32_t interrupt_round() {
    for (const uint64_t block : {0u, 2u, 4u, 6u, 8u, 10u}) pool->write(kSnap, block);
    options.pipeline.checkpoint_bytes = Bytes(ThinPool::kBlockSize);
    const uint32_t id = freeze();
    uint64_t flushes = 0;
    world.on_operation([&](const Operation& op) {
      if (op.kind == OperationKind::kFlush && ++flushes == 2)
        world.cut_power_at(world.operations());
    });
    failure([&] { merge_job(pool->job(directory, id, kSnap)); });
    world.on_operation({});
    EXPECT_TRUE(world.power_is_cut());
    world.restart(Survivors::kRandom, 1);
    return id;
  }
  // Changes a byte of the origin that no sample has.
  void flip_unsampled() {
    const auto last = journal();
    const uint64_t print = origin_fingerprint(*last, pool->origin());
    for (uint64_t unit = 40; unit < 9 * 16; ++unit) {
      const Bytes changed(unit * 4096 + 5);
      pool->origin().flip(changed);
      if (origin_fingerprint(*last, pool->origin()) == print) return;
      pool->origin().flip(changed);
    }
    FAIL() << "everything is sampled";
  }
  // The metadata is as before the last merge. Snapshots since then have raised the times.
  void restore_and_raise_the_times() {
    write_all();
    merge();
    const auto backup = pool->back_up();
    pool->write(kSnap, 3);
    merge();
    pool->restore(*backup);
    pool->write(kSnap, 4);
    for (const uint32_t id : {50u, 51u, 52u}) pool->snapshot(id, kSnap);
  }
  std::unique_ptr<Journal> journal() { return Journal::open(*directory, "journal", false); }

  SimulatedWorld world;
  std::unique_ptr<ThinPool> pool;
  std::shared_ptr<SimulatedDirectory> directory;
  MergeOptions options;
  Progress progress;
  uint32_t next_id = 0;
};

}  // namespace extmerge
