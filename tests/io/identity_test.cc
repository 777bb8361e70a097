// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/identity.h"

#include <gtest/gtest.h>

namespace extmerge {
namespace {

using Names = std::vector<std::string>;

TEST(Identity, IsTheSameIfEveryPartThatBothHaveIs) {
  const std::string file = "file:ino=12,born=1.5", fs = ",fs=0123456789abcdef",
                    on = ",on=fedcba9876543210";
  const Names same = {file + fs + on, file + fs, file + on, file};
  for (const std::string& a : same) {
    for (const std::string& b : same) {
      EXPECT_TRUE(is_same_identity(a, b)) << a << " " << b;
      EXPECT_TRUE(is_same_identity("loop:" + a + "+512", "loop:" + b + "+512"));
      EXPECT_FALSE(is_same_identity("loop:" + a + "+512", "loop:" + b + "+1024"));
      EXPECT_FALSE(is_same_identity("loop:" + a + "+512", b + "+512"));
    }
    for (const std::string& other :
         {"file:ino=13,born=1.5" + fs + on, std::string("file:ino=12,born=1.6"),
          std::string("dm:LVM-a"), std::string()}) {
      EXPECT_FALSE(is_same_identity(a, other)) << a << " " << other;
      EXPECT_FALSE(is_same_identity(other, a)) << a << " " << other;
    }
  }
  EXPECT_FALSE(is_same_identity(file + ",fs=1", file + ",fs=2"));
  EXPECT_FALSE(is_same_identity(file + ",fs=1,on=1", file + ",fs=1,on=2"));
  EXPECT_FALSE(is_same_identity(file + ",fs=1,on=1", file + ",fs=1,over=1"));
  EXPECT_TRUE(is_same_identity("dm:LVM-a", "dm:LVM-a"));
  EXPECT_FALSE(is_same_identity("dm:LVM-a", "dm:LVM-b"));
  EXPECT_TRUE(is_same_identity("", ""));
}

TEST(Identity, WasShorterWhereLessWasKnown) {
  EXPECT_EQ(shorter_identities("loop:file:ino=3,born=4,fs=1,on=2+5"),
            (Names{"loop:file:ino=3,born=4,fs=1+5", "loop:file:ino=3,born=4,on=2+5",
                   "loop:file:ino=3,born=4+5"}));
  EXPECT_EQ(shorter_identities("file:ino=3,born=4,fs=1"), (Names{"file:ino=3,born=4"}));
  EXPECT_EQ(shorter_identities("file:ino=3,born=4,over=2"), (Names{"file:ino=3,born=4"}));
  for (const char* const whole : {"file:ino=3,born=4", "dm:LVM-a", "device:vdb,size=1", ""}) {
    EXPECT_TRUE(shorter_identities(whole).empty()) << whole;
  }
}

TEST(Identity, IsCertainWhereNoCopyHasTheSame) {
  for (const char* const name :
       {"dm:LVM-a", "md:1", "wwid:naa.5", "serial:x", "file:ino=3,born=4,fs=1,on=2",
        "loop:file:ino=3,born=4,on=2+0", "wwid:naa.5,partition=1,start=2048"}) {
    EXPECT_TRUE(is_certain_identity(name)) << name;
  }
  for (const char* const name : {"device:vdb,size=1", "device:vdb,size=1,partition=1,start=2048",
                                 "dm-name:raw", "file:ino=3,born=4", "file:ino=3,born=4,fs=1",
                                 "file:ino=3,born=4,fs=1,over=2", "loop:file:ino=3,born=4+512"}) {
    EXPECT_FALSE(is_certain_identity(name)) << name;
  }
}

}  // namespace
}  // namespace extmerge
