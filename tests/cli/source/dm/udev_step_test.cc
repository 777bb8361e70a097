// SPDX-License-Identifier: GPL-3.0-or-later
//
// The semaphore on which a device-mapper task waits for udev. tests/kernel/lvm_never_offered.sh
// tests udev's answers.

#include "cli/source/dm/udev_step.h"

#include <gtest/gtest.h>
#include <sys/ipc.h>
#include <sys/sem.h>

namespace extmerge {
namespace {

constexpr const char* kUuid =
    "LVM-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZab";

bool has_semaphore(uint32_t cookie) { return ::semget(static_cast<key_t>(cookie), 1, 0) >= 0; }

TEST(UdevStep, HasACookieThatUdevsRulesKnowAndTheNextRunFinds) {
  const UdevStep one(kUuid), again(kUuid), other(std::string(kUuid) + "-other");
  EXPECT_EQ(one.cookie() >> 16, 0x0d4du);
  EXPECT_EQ(one.cookie(), again.cookie());
  EXPECT_NE(one.cookie(), other.cookie());
}

TEST(UdevStep, DiscardsWhatAKilledRunHasLeftAndNothingElse) {
  const UdevStep killed("LVM-killed"), other("LVM-another");
  ASSERT_GE(::semget(static_cast<key_t>(killed.cookie()), 1, 0600 | IPC_CREAT | IPC_EXCL), 0);
  ASSERT_GE(::semget(static_cast<key_t>(other.cookie()), 1, 0600 | IPC_CREAT | IPC_EXCL), 0);
  killed.discard();
  EXPECT_FALSE(has_semaphore(killed.cookie()));
  EXPECT_TRUE(has_semaphore(other.cookie()));
  other.discard();
  EXPECT_FALSE(has_semaphore(other.cookie()));
  other.discard();  // the semaphore is gone
}

}  // namespace
}  // namespace extmerge
