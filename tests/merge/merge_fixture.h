// SPDX-License-Identifier: GPL-3.0-or-later
//
// The main path on simulated disks, for the tests of it.

#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "merge/merge.h"
#include "tests/support/merge_scene.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {

inline SceneShape plain_shape() {
  SceneShape shape;
  shape.thin_size = shape.origin_size = 16 * kBlock;
  shape.mappings = {{0, 4}, {1, 5}, {4, 0}, {6, 2}, {7, 1}, {11, 3}};
  return shape;
}

class MergerTest : public testing::Test {
 protected:
  void set_up(const SceneShape& shape) {
    scene = std::make_unique<MergeScene>(world, shape);
    directory = std::make_shared<SimulatedDirectory>(world);
    options = {};
    options.pipeline.buffer_size = Bytes(kBlock);
    options.pipeline.checkpoint_bytes = Bytes(kBlock);
    options.pipeline.threads = 2;
  }
  void SetUp() override { set_up(plain_shape()); }

  Merger merger(std::stop_token stop = {}) {
    return Merger(job ? *job : scene->job(directory), options, progress, stop);
  }
  MergeReport merge() {
    return merger().merge([](const PlanReport&) { return true; });
  }
  // Runs `deed` and returns the id of its failure.
  MessageId failure(const std::function<void()>& deed) {
    try {
      deed();
    } catch (const Error& error) {
      words = error.what();
      EXPECT_NE(error.next(), "");
      return error.id();
    }
    ADD_FAILURE() << "nothing failed";
    return MessageId::kInternal;
  }
  MessageId merge_failure() {
    return failure([&] { merge(); });
  }
  // Cuts the power of a merge at its second flush of the origin, with the position of the first
  // checkpoint recorded.
  void merge_in_part() {
    uint64_t flushes = 0;
    world.on_operation([&](const Operation& op) {
      if (op.kind == OperationKind::kFlush && ++flushes == 2) {
        world.cut_power_at(world.operations());
      }
    });
    merge_failure();
    ASSERT_TRUE(world.power_is_cut()) << words;
    world.on_operation({});
    world.restart(Survivors::kNone, 3);
  }
  void expect_merged() {
    EXPECT_EQ(first_difference(scene->origin().contents(), scene->expected_origin()), "");
    EXPECT_EQ(scene->damage(), "");
  }
  void expect_untouched(const std::vector<std::byte>& before) {
    EXPECT_EQ(first_difference(scene->origin().contents(), before), "");
  }

  SimulatedWorld world;
  std::unique_ptr<MergeScene> scene;
  std::shared_ptr<SimulatedDirectory> directory;
  std::optional<Job> job;
  MergeOptions options;
  Progress progress;
  std::string words;
};

// Metadata with a held superblock, and a live tree in which thin 1 has another root or the pool has
// a fault.
class LivePool : public MergerTest {
 protected:
  void use_metadata(const std::function<void(MetadataBuilder&)>& change,
                    RootChoice choice = RootChoice::kHeld) {
    builder = std::make_unique<MetadataBuilder>(256);
    std::vector<BuiltMapping> mappings;
    for (const auto& [thin, data] : plain_shape().mappings) mappings.push_back({thin, data});
    builder->add_device(1, builder->add_tree(mappings));
    other_root = builder->add_tree(mappings).root();
    add_devices(*builder);
    builder->finish();
    change(*builder);
    metadata = std::make_shared<SimulatedDisk>(world, "/images/metadata", builder->image());
    job = scene->job(directory);
    job->root_choice = choice;
    const auto open = custody_of(*job).on_open;
    custody_of(*job).on_open = [this, open](const DeviceFacts& facts, OpenMode mode,
                                            Bytes ends) -> std::shared_ptr<BlockDevice> {
      if (facts.path == "/images/metadata") return metadata;
      return open(facts, mode, ends);
    };
  }
  // Other thins of the pool.
  virtual void add_devices(MetadataBuilder&) {}
  // The held and the live superblock share the tree of roots: give the live one a copy in which
  // thin 1 has another root.
  static void move_live_root(MetadataBuilder& pool, uint64_t root) {
    const uint64_t copy = pool.add_inner_node({{1, root}});
    pool.header(copy).flags.set(kFlagLeaf);
    pool.fix_checksum(copy);
    pool.superblock().data_mapping_root.set(copy);
    pool.fix_checksum(0);
  }

  std::unique_ptr<MetadataBuilder> builder;
  std::shared_ptr<SimulatedDisk> metadata;
  uint64_t other_root = 0;
};

}  // namespace extmerge
