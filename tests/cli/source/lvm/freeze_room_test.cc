// SPDX-License-Identifier: GPL-3.0-or-later
//
// Plans refuse a merge for which LVM has no room or no module.

#include "cli/source/lvm/freeze_room.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/cli/source/lvm/made_volumes.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

ThinVolume volume_with_free(std::optional<uint64_t> bytes) {
  ThinVolume made;
  made.snap = thin("snap", 1, {"origin"});
  made.snap.vg_metadata_free = bytes;
  made.pool = volume("pool", "thin-pool");
  return made;
}

TEST(TheMetadataArea, MustHaveRoomForTheFreezeAndEveryMark) {
  for (const bool has_freeze : {false, true}) {
    for (const size_t members : {0u, 1u, 3u}) {
      const uint64_t needed = metadata_of_merge(volume_with_free(0), has_freeze, members);
      EXPECT_FALSE(judge_metadata_area(volume_with_free(needed), has_freeze, members));
      const auto refusal = judge_metadata_area(volume_with_free(needed - 1), has_freeze, members);
      ASSERT_TRUE(refusal);
      EXPECT_EQ(refusal->id(), MessageId::kLvmRefused);
    }
  }
  const ThinVolume any = volume_with_free(0);
  EXPECT_GT(metadata_of_merge(any, true, 0), metadata_of_merge(any, false, 0));
  EXPECT_GT(metadata_of_merge(any, false, 1), metadata_of_merge(any, false, 0));
}

TEST(TheMetadataArea, IsNotJudgedIfLvmDoesNotTellItsRoom) {
  EXPECT_FALSE(judge_metadata_area(volume_with_free({}), true, 3));
}

TEST(AKernelModule, IsListedOrBuiltIn) {
  const ScratchDirectory scratch;
  EXPECT_FALSE(has_module(scratch.path(), "dm-snapshot"));
  std::ofstream(scratch / "modules.dep")
      << "kernel/drivers/md/dm-mod.ko:\n"
         "kernel/drivers/md/dm-thin-pool.ko.xz: kernel/drivers/md/dm-mod.ko\n"
         "kernel/drivers/md/other.ko: kernel/drivers/md/dm-snapshot.ko\n";
  std::ofstream(scratch / "modules.builtin") << "kernel/drivers/md/dm-mirror.ko\n";
  EXPECT_TRUE(has_module(scratch.path(), "dm-mod"));
  EXPECT_TRUE(has_module(scratch.path(), "dm-thin-pool"));
  EXPECT_TRUE(has_module(scratch.path(), "dm-mirror"));
  EXPECT_FALSE(has_module(scratch.path(), "dm-snapshot"));
  EXPECT_FALSE(has_module(scratch.path(), "mod"));
}

}  // namespace
}  // namespace extmerge
