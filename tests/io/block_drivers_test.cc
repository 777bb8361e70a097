// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/block_drivers.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/io/scratch.h"

namespace extmerge {
namespace {

class BlockDrivers : public testing::Test {
 protected:
  void set(const std::string& devices) {
    std::ofstream(system_.root().proc + "/devices") << devices;
  }
  bool has(const std::string& name) { return has_block_driver(name, system_.root()); }
  FakeSystem system_;
};

TEST_F(BlockDrivers, AreThoseOfTheSecondList) {
  set("Character devices:\n  1 mem\n 10 misc\n253 device-mapper\n\nBlock devices:\n  7 loop\n");
  EXPECT_TRUE(has("loop"));
  EXPECT_FALSE(has("device-mapper"));
  set("Character devices:\n  1 mem\n\nBlock devices:\n  7 loop\n253 device-mapper\n259 blkext\n");
  EXPECT_TRUE(has("device-mapper"));
  EXPECT_FALSE(has("mem"));
}

TEST_F(BlockDrivers, AreNotKnownWithoutAList) {
  EXPECT_EQ(thrown_by([&] { has("loop"); }), MessageId::kCannotLook);
  for (const char* const devices : {"", "Character devices:\n  1 mem\n"}) {
    set(devices);
    EXPECT_EQ(thrown_by([&] { has("loop"); }), MessageId::kCannotLook) << devices;
  }
}

TEST_F(BlockDrivers, OfThisMachineCanBeAsked) { EXPECT_FALSE(has_block_driver("no such driver")); }

}  // namespace
}  // namespace extmerge
