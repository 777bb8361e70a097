// SPDX-License-Identifier: GPL-3.0-or-later
//
// A pool of 16 TiB in blocks of 64 KiB has 256 million mappings. Planning them and writing the plan
// to a journal takes at most 128 MiB of memory, whatever their number and places. The kernel knows
// a process's peak memory. So this is a program of its own, and ctest runs each test in a process
// of its own.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "io/posix_directory.h"
#include "merge/journal/journal.h"
#include "merge/plan/planned_tree.h"
#include "merge/plan/runs.h"
#include "persistent-data/devices.h"
#include "tests/support/synthetic_tree.h"

namespace extmerge {
namespace {

constexpr Bytes kMostMemory(128 << 20);
constexpr Bytes kOriginSize(uint64_t{1} << 50);

Bytes most_memory_so_far() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    uint64_t kibibytes = 0;
    if (word == "VmHWM:" && status >> kibibytes) return Bytes(kibibytes << 10);
  }
  ADD_FAILURE() << "the kernel does not say how much memory there was";
  return kOriginSize;
}

struct HugePool {
  HugePool(uint64_t mappings, LeafPlacement placement)
      : tree(mappings, placement),
        reader(tree),
        thin(find_device(reader, reader.live_superblock(), ThinId{SyntheticTree::kThinId}).value()),
        end_of_data(mappings),
        limits{reader.live_superblock().data_block_size, kOriginSize, std::nullopt} {}

  PlanSummary summary() {
    // Fill the tree as if there were siblings to compare.
    PlannedTree planned(thin, limits, reader.nr_blocks());
    return summarize(reader, thin, end_of_data, limits, {}, {}, {}, &planned);
  }

  SyntheticTree tree;
  MetadataReader reader;
  const ThinDevice thin;
  const DataBlock end_of_data;
  const PlanLimits limits;
};

class Scale : public testing::TestWithParam<LeafPlacement> {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "extmerge-scale-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override {
    if (!folder.empty()) std::filesystem::remove_all(folder);
  }

  std::filesystem::path folder;
};

TEST_P(Scale, APlanOf256MillionRunsIsSummedUpIn128MiB) {
  constexpr uint64_t kMappings = 256'000'000;
  const PlanSummary summary = HugePool(kMappings, GetParam()).summary();
  EXPECT_EQ(summary.mapped_blocks, kMappings);
  EXPECT_EQ(summary.runs, kMappings);
  EXPECT_EQ(summary.copy_bytes, Bytes(kMappings << 16));
  EXPECT_LE(most_memory_so_far(), kMostMemory);
}

TEST_P(Scale, APlanOf20MillionRunsIsPublishedIn128MiB) {
  constexpr uint64_t kMappings = 20'000'000;
  HugePool pool(kMappings, GetParam());
  const PlanSummary summary = pool.summary();

  MergeRecord record;
  record.thin_id = pool.thin.id;
  record.mapping_root = pool.thin.mapping_root;
  record.block_size = pool.limits.block_size;
  record.logical_block_size = Bytes(512);
  record.origin_size_before = record.origin_size_after = record.plan_end = kOriginSize;
  record.mapped_blocks = summary.mapped_blocks;
  record.runs = summary.runs;
  record.copy_bytes = summary.copy_bytes;
  record.digest = summary.digest;

  const auto directory = open_directory(folder, false);
  const auto journal = Journal::begin(*directory, "journal", record);
  PlannedRuns runs(pool.reader, pool.thin, pool.end_of_data, pool.limits);
  journal->publish(runs);
  EXPECT_EQ(journal->state(), JournalState::kCopying);
  // Read back and check every page, as a resume does.
  EXPECT_EQ(Journal::open(*directory, "journal", false)->record().runs, kMappings);
  EXPECT_LE(most_memory_so_far(), kMostMemory);
}

INSTANTIATE_TEST_SUITE_P(Leaves, Scale,
                         testing::Values(LeafPlacement::kOrdered, LeafPlacement::kShuffled),
                         [](const auto& placement) {
                           return placement.param == LeafPlacement::kOrdered ? "InOrder"
                                                                             : "Shuffled";
                         });

}  // namespace
}  // namespace extmerge
