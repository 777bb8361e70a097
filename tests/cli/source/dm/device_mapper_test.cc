// SPDX-License-Identifier: GPL-3.0-or-later
//
// Parses answers of device-mapper: status lines of real pools (Linux 6.1), as dmsetup status shows
// them behind the target's name.

#include "cli/source/dm/device_mapper.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "io/block_drivers.h"

namespace extmerge {
namespace {

TEST(PoolStatus, OfAPoolThatWorks) {
  const auto status =
      parse_pool_status("1 112/1024 189/1920 - rw discard_passdown queue_if_no_space - 1024 ");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->transaction_id, 1u);
  EXPECT_EQ(status->used_metadata, 112u);
  EXPECT_EQ(status->total_metadata, 1024u);
  EXPECT_EQ(status->used_data, 189u);
  EXPECT_EQ(status->total_data, 1920u);
  EXPECT_EQ(status->held_root, std::nullopt);
  EXPECT_EQ(status->mode, "rw");
  EXPECT_FALSE(status->needs_check);
}

TEST(PoolStatus, TellsWhereAHeldMetadataSnapshotIs) {
  const auto status =
      parse_pool_status("7 112/1024 189/1920 81 rw no_discard_passdown error_if_no_space - 1024");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->held_root, MetadataBlock(81));
}

TEST(PoolStatus, OfOneInAnotherMode) {
  for (const char* mode : {"ro", "out_of_data_space"}) {
    const auto status = parse_pool_status("3 20/1024 320/320 - " + std::string(mode) +
                                          " discard_passdown queue_if_no_space - 1024 ");
    ASSERT_TRUE(status) << mode;
    EXPECT_EQ(status->mode, mode);
    EXPECT_EQ(status->used_data, status->total_data);
  }
}

TEST(PoolStatus, KnowsNeedsCheckWhereverItStands) {
  for (const char* text :
       {"3 20/1024 320/320 - ro discard_passdown queue_if_no_space needs_check 1024 ",
        "3 20/1024 320/320 - ro needs_check"}) {
    const auto status = parse_pool_status(text);
    ASSERT_TRUE(status) << text;
    EXPECT_TRUE(status->needs_check) << text;
  }
}

TEST(PoolStatus, OfAFailedPoolIsAWord) {
  for (const char* word : {"Fail", "Error"}) {
    const auto status = parse_pool_status(word);
    ASSERT_TRUE(status) << word;
    EXPECT_EQ(status->mode, word);
    EXPECT_EQ(status->total_data, 0u);
    EXPECT_EQ(status->held_root, std::nullopt);
  }
}

TEST(PoolStatus, OfAnythingElseIsNothing) {
  for (const char* text : {"",
                           " ",
                           "fail",
                           "-",
                           "rw",
                           "1",
                           "1 112/1024",
                           "1 112/1024 189/1920 -",
                           "x 112/1024 189/1920 - rw",
                           "1x 112/1024 189/1920 - rw",
                           "1 112 189/1920 - rw",
                           "1 112/ 189/1920 - rw",
                           "1 /1024 189/1920 - rw",
                           "1 112/1024 189/1920x - rw",
                           "1 112/1024 189:1920 - rw",
                           "1 -5/1024 189/1920 - rw",
                           "1 112/1024 189/1920 x rw",
                           "1 112/1024 189/1920 81x rw",
                           "1 112/1024 189/1920 -1 rw",
                           "99999999999999999999 112/1024 189/1920 - rw"}) {
    EXPECT_FALSE(parse_pool_status(text)) << "'" << text << "'";
  }
}

TEST(DeviceNumber, IsMajorAndMinorAlsoAbove255) {
  EXPECT_EQ(parse_device_number("253:2"), makedev(253, 2));
  EXPECT_EQ(parse_device_number("253:1027"), makedev(253, 1027));
  EXPECT_EQ(parse_device_number("0:0"), makedev(0, 0));
  EXPECT_NE(parse_device_number("253:1027"), parse_device_number("253:3"));
}

TEST(DeviceNumber, OfAnythingElseIsNothing) {
  for (const char* text : {"", ":", "253", "253:", ":2", "253:2x", "x:2", "253:-2", "253 2",
                           " 253:2", "253:2 ", "/dev/sda", "253:2:3", "99999999999:1"}) {
    EXPECT_FALSE(parse_device_number(text)) << "'" << text << "'";
  }
}

// tests/kernel/lvm_cannot_look.sh tests kCannotLook, for a wrong answer or none.
TEST(DeviceMapper, HasNoDevicesInAKernelWithoutIt) {
  if (has_block_driver("device-mapper")) GTEST_SKIP() << "this kernel has device-mapper";
  EXPECT_FALSE(read_dm_table(makedev(253, 0)));
  EXPECT_FALSE(find_dm_device("LVM-none"));
  EXPECT_TRUE(all_dm_devices().empty());
}

}  // namespace
}  // namespace extmerge
