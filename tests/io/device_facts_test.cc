// SPDX-License-Identifier: GPL-3.0-or-later
//
// Facts about files, and about fake device stacks. loop_device_test.cc has the tests with real loop
// devices.

#include "io/device_facts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "io/device_identity.h"
#include "io/file_descriptor.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

DeviceFacts facts_of(const FakeSystem& system, uint64_t device_number, uint64_t size = 1 << 20) {
  DeviceFacts facts;
  facts.exists = true;
  facts.is_block = true;
  facts.device_number = device_number;
  facts.size = Bytes(size);
  describe_device(system.root(), facts);
  return facts;
}

std::string identity_of(const FakeSystem& system, uint64_t device_number, uint64_t size = 1 << 20) {
  return facts_of(system, device_number, size).identity;
}

std::vector<std::string> names_of(const std::vector<Holder>& holders) {
  std::vector<std::string> names;
  for (const Holder& holder : holders) names.push_back(holder.name);
  return names;
}

using Names = std::vector<std::string>;
using Numbers = std::vector<uint64_t>;

// --- files -------------------------------------------------------------------

TEST(DeviceFacts, OfAMissingPathAreThatItIsMissing) {
  const ScratchDirectory scratch;
  fs::create_symlink("nowhere", scratch / "dangling");
  const std::string file = scratch.make_file("file", 1);
  for (const std::string& path :
       {scratch / "none", scratch / "dangling", file + "/below", std::string(5000, 'x')}) {
    const DeviceFacts facts = inspect(path);
    EXPECT_FALSE(facts.exists) << path;
    EXPECT_EQ(facts.path, path);
  }
}

TEST(DeviceFacts, OfSomethingElseAreThatItIsNeitherDeviceNorFile) {
  const ScratchDirectory scratch;
  for (const std::string& path : {scratch.path(), std::string("/dev/null")}) {
    const DeviceFacts facts = inspect(path);
    EXPECT_TRUE(facts.exists);
    EXPECT_FALSE(facts.is_block || facts.is_regular) << path;
  }
}

TEST(DeviceFacts, OfAFileAreThoseOfStat) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 1000);
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  const DeviceFacts facts = inspect(path);
  EXPECT_TRUE(facts.exists && facts.is_regular && !facts.is_block);
  EXPECT_EQ(facts.size, Bytes(1000));
  EXPECT_EQ(facts.logical_block_size, Bytes(512));
  EXPECT_EQ(facts.inode, status.st_ino);
  EXPECT_EQ(facts.file_system, status.st_dev);
  EXPECT_EQ(facts.device_number, 0u);
  EXPECT_FALSE(facts.read_only || facts.is_swap);
  EXPECT_TRUE(facts.holders.empty() && facts.mount_points.empty());
  ASSERT_EQ(facts.underlying_files.size(), 1u);
  EXPECT_EQ(facts.underlying_files[0].inode, status.st_ino);
}

TEST(DeviceFacts, GiveAFileAnIdentityThatGoesWithItAndNotWithItsName) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 512);
  const std::string identity = inspect(path).identity;
  EXPECT_TRUE(identity.starts_with("file:ino=")) << identity;
  fs::rename(path, scratch / "renamed");
  EXPECT_EQ(inspect(scratch / "renamed").identity, identity);
  EXPECT_NE(inspect(scratch.make_file("image", 512)).identity, identity);
}

TEST(DeviceFacts, KnowAFilesIdentityByItsInodeAndBirth) {
  struct statx status {};
  status.stx_ino = 12;
  EXPECT_EQ(identity_of_file(status), "file:ino=12,born=0");
  status.stx_mask = STATX_BTIME;
  status.stx_btime.tv_sec = 1700000000;
  status.stx_btime.tv_nsec = 5;
  EXPECT_EQ(identity_of_file(status), "file:ino=12,born=1700000000.5");
}

TEST(DeviceFacts, CallAFileReadOnlyIfNobodyCouldWriteIt) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 512);
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  int flags = FS_IMMUTABLE_FL;
  if (::ioctl(file.get(), FS_IOC_SETFLAGS, &flags) != 0) {
    GTEST_SKIP() << "no immutable files in " << scratch.path();
  }
  EXPECT_TRUE(inspect(path).read_only);
  flags = 0;
  ASSERT_EQ(::ioctl(file.get(), FS_IOC_SETFLAGS, &flags), 0);
  EXPECT_FALSE(inspect(path).read_only);
}

TEST(DeviceFacts, DoNotTakeAMissingPermissionForReadOnly) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 512);
  fs::permissions(scratch.path(), fs::perms(0755));
  fs::permissions(path, fs::perms(0600));
  ASSERT_EQ(::seteuid(65534), 0);
  const bool read_only = inspect(path).read_only;
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_FALSE(read_only);
}

TEST(DeviceFacts, CannotBeHadWherePermissionIsMissing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const ScratchDirectory scratch;  // mode 0700
  const std::string path = scratch.make_file("image", 512);
  ASSERT_EQ(::seteuid(65534), 0);
  const MessageId thrown = thrown_by([&] { inspect(path); });
  const MessageId below = thrown_by([&] { devices_under_file_system(path); });
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_EQ(thrown, MessageId::kPermission);
  EXPECT_EQ(below, MessageId::kPermission);
}

TEST(DeviceFacts, CannotBeHadFromAFolderThatIsNoSysfs) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 512);
  SystemRoot root;
  for (const char* folders : {"missing", "empty/dev/block", "empty/block"}) {
    if (folders[0] == 'e') fs::create_directories(scratch / folders);
    root.sys = scratch / (folders[0] == 'e' ? "empty" : "missing");
    EXPECT_EQ(thrown_by([&] { inspect(path, root); }), MessageId::kCannotLook) << folders;
  }
}

TEST(DeviceFacts, OfAFileNeedItsFileSystemsDeviceInSysfs) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 512);
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  if (gnu_dev_major(status.st_dev) == 0) GTEST_SKIP() << scratch.path() << " is not on a device";
  const FakeSystem system;
  EXPECT_EQ(thrown_by([&] { inspect(path, system.root()); }), kNothingThrown);
  fs::remove(system.root().sys + "/dev/block/" + std::to_string(gnu_dev_major(status.st_dev)) +
             ":" + std::to_string(gnu_dev_minor(status.st_dev)));
  EXPECT_EQ(thrown_by([&] { inspect(path, system.root()); }), MessageId::kCannotLook);
  EXPECT_EQ(thrown_by([&] { devices_under_file_system(path, system.root()); }),
            MessageId::kCannotLook);
}

TEST(DeviceFacts, NeedTheListOfDisksWhichLoopDevicesAreIn) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 512);
  const FakeSystem system;
  fs::remove_all(system.root().sys + "/block");
  EXPECT_EQ(thrown_by([&] { inspect(path, system.root()); }), MessageId::kCannotLook);
}

// A folder in place of a file gives EISDIR.
TEST(DeviceFacts, ThatCannotBeReadAreNotTakenForMissing) {
  FakeSystem system;
  const uint64_t loop = system.add_device("loop7", 7, 7, {{"loop/backing_file", "/image"}});
  const uint64_t disk = system.add_device("sda", 240, 0, {{"serial", "s"}});
  fs::remove(system.root().sys + "/devices/loop7/loop/backing_file");
  fs::create_directory(system.root().sys + "/devices/loop7/loop/backing_file");
  EXPECT_EQ(thrown_by([&] { facts_of(system, loop); }), MessageId::kCannotLook);
  fs::remove_all(system.root().sys + "/devices/loop7");
  fs::remove(system.root().sys + "/block/loop7");
  EXPECT_EQ(thrown_by([&] { facts_of(system, disk); }), kNothingThrown);
  fs::remove(system.root().sys + "/devices/sda/serial");
  fs::create_directory(system.root().sys + "/devices/sda/serial");
  EXPECT_EQ(thrown_by([&] { facts_of(system, disk); }), MessageId::kCannotLook);
}

TEST(DeviceFacts, KnowAFileInUseAsSwap) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("my swap", 4096);
  const std::string other = scratch.make_file("image", 4096);
  FakeSystem system;
  system.set_swaps(scratch / "my\\040swap" + "\tfile\t1024\t0\t-2\n");
  EXPECT_TRUE(inspect(path, system.root()).is_swap);
  EXPECT_FALSE(inspect(other, system.root()).is_swap);
}

// --- identities ----------------------------------------------------------------

TEST(DeviceIdentity, OfDeviceMapperIsItsUuidOrElseItsName) {
  FakeSystem system;
  const uint64_t lv =
      system.add_device("dm-0", 253, 0, {{"dm/uuid", "LVM-abc"}, {"dm/name", "vg-lv"}});
  const uint64_t raw = system.add_device("dm-1", 253, 1, {{"dm/uuid", ""}, {"dm/name", "raw"}});
  EXPECT_EQ(identity_of(system, lv), "dm:LVM-abc");
  EXPECT_EQ(identity_of(system, raw), "dm-name:raw");
}

TEST(DeviceIdentity, OfADiskIsTheNameItsMakerGaveIt) {
  FakeSystem system;
  const uint64_t nvme = system.add_device("nvme0n1", 259, 0, {{"wwid", "eui.0025385b"}});
  const uint64_t scsi = system.add_device(
      "sda", 8, 0, {{"device/wwid", "t10.ATA     QEMU HARDDISK   QM00001  "}, {"serial", "x"}});
  const uint64_t virtio = system.add_device("vda", 254, 0, {{"serial", "disk-7"}});
  const uint64_t raid = system.add_device("md0", 9, 0, {{"md/uuid", "1c3f"}});
  EXPECT_EQ(identity_of(system, nvme), "wwid:eui.0025385b");
  EXPECT_EQ(identity_of(system, scsi), "wwid:t10.ATA_QEMU_HARDDISK_QM00001");
  EXPECT_EQ(identity_of(system, virtio), "serial:disk-7");
  EXPECT_EQ(identity_of(system, raid), "md:1c3f");
}

TEST(DeviceIdentity, OfAPartitionIsThatOfItsDiskAndItsPlaceThere) {
  FakeSystem system;
  system.add_device("sda", 8, 0, {{"device/wwid", "naa.5000"}, {"size", "409600"}});
  const uint64_t part =
      system.add_partition("sda", "sda2", 8, 2, {{"partition", "2"}, {"start", "2048"}});
  EXPECT_EQ(identity_of(system, part), "wwid:naa.5000,partition=2,start=2048");
  system.add_device("vdb", 254, 16, {{"size", "4096"}});
  const uint64_t nameless =
      system.add_partition("vdb", "vdb1", 254, 17, {{"partition", "1"}, {"start", "64"}});
  EXPECT_EQ(identity_of(system, nameless), "device:vdb,size=2097152,partition=1,start=64");
}

TEST(DeviceIdentity, OfADiskWithoutAnyNameIsItsKernelNameAndSize) {
  FakeSystem system;
  const uint64_t nameless = system.add_device("vdb", 254, 16, {{"serial", ""}});
  const uint64_t slashed = system.add_device("cciss!c0d0", 104, 0);
  EXPECT_EQ(identity_of(system, nameless, 4096), "device:vdb,size=4096");
  EXPECT_EQ(identity_of(system, slashed, 512), "device:cciss/c0d0,size=512");
  EXPECT_EQ(identity_of(system, gnu_dev_makedev(300, 7), 0), "device:300:7,size=0");
}

TEST(DeviceIdentity, OfALoopIsThatOfItsFileAndTheOffset) {
  const ScratchDirectory scratch;
  const std::string image = scratch.make_file("image", 4096);
  FakeSystem system;
  const FakeSystem::Attributes over_image = {{"loop/backing_file", image}, {"loop/offset", "1024"}};
  const uint64_t loop = system.add_device("loop8", 7, 8, over_image);
  EXPECT_EQ(identity_of(system, loop), "loop:" + inspect(image, system.root()).identity + "+1024");
}

// --- stacks ----------------------------------------------------------------------

// A disk with two partitions. Volumes a and b lie side by side on the first, c lies over a. The
// majors are those for local use, so no real file system lies on them.
class Stack : public testing::Test {
 protected:
  Stack() {
    disk_ = system_.add_device("sda", 240, 0);
    first_ = system_.add_partition("sda", "sda1", 240, 1, {{"partition", "1"}});
    second_ = system_.add_partition("sda", "sda2", 240, 2, {{"partition", "2"}});
    a_ = system_.add_device("dm-0", 241, 0, {{"dm/name", "vg-a"}});
    b_ = system_.add_device("dm-1", 241, 1, {{"dm/name", "vg-b"}});
    c_ = system_.add_device("dm-300", 241, 300, {{"dm/name", "vg-c"}});
    system_.stack("dm-0", "sda1");
    system_.stack("dm-1", "sda1");
    system_.stack("dm-300", "dm-0");
  }
  DeviceFacts facts(uint64_t device_number) const { return facts_of(system_, device_number); }
  bool overlap(uint64_t one, uint64_t other) const {
    const bool result = overlaps(facts(one), facts(other));
    EXPECT_EQ(overlaps(facts(other), facts(one)), result) << "depends on the order";
    return result;
  }

  FakeSystem system_;
  uint64_t disk_, first_, second_, a_, b_, c_;
};

TEST_F(Stack, UnderlyingIsEverythingBelowAndTheDeviceItself) {
  EXPECT_EQ(facts(c_).underlying, (Numbers{c_, a_, first_, disk_}));
  EXPECT_EQ(facts(second_).underlying, (Numbers{second_, disk_}));
  EXPECT_EQ(facts(disk_).underlying, (Numbers{disk_}));
}

TEST_F(Stack, HoldersAreWhatLiesDirectlyOverADeviceOrItsPartitions) {
  EXPECT_EQ(names_of(facts(a_).holders), (Names{"dm-300 (vg-c)"}));
  EXPECT_EQ(facts(a_).holders[0].device_number, gnu_dev_makedev(241, 300));
  EXPECT_EQ(names_of(facts(first_).holders), (Names{"dm-0 (vg-a)", "dm-1 (vg-b)"}));
  EXPECT_EQ(names_of(facts(disk_).holders), (Names{"dm-0 (vg-a)", "dm-1 (vg-b)"}));
  EXPECT_TRUE(facts(second_).holders.empty());
  EXPECT_TRUE(facts(c_).holders.empty());
}

TEST_F(Stack, NeighboursAreWhatElseLiesOverTheDevicesBelow) {
  const uint64_t thin = system_.add_device("dm-4", 241, 4, {{"dm/name", "vg-thin"}});
  system_.stack("dm-4", "dm-0");
  EXPECT_EQ(names_of(facts(c_).neighbours), (Names{"dm-4 (vg-thin)", "dm-1 (vg-b)"}));
  EXPECT_EQ(facts(c_).neighbours[0].device_number, thin);
  EXPECT_TRUE(facts(c_).holders.empty());
  EXPECT_EQ(names_of(facts(a_).neighbours), (Names{"dm-1 (vg-b)"}));
  EXPECT_TRUE(facts(disk_).neighbours.empty());
}

TEST_F(Stack, ADeviceOverlapsItselfAndWhatLiesUnderIt) {
  EXPECT_TRUE(overlap(c_, c_));
  EXPECT_TRUE(overlap(c_, a_));
  EXPECT_TRUE(overlap(c_, first_));
  EXPECT_TRUE(overlap(c_, disk_));
}

TEST_F(Stack, WhatLiesSideBySideDoesNotOverlap) {
  EXPECT_FALSE(overlap(first_, second_));
  EXPECT_FALSE(overlap(a_, b_));
  EXPECT_FALSE(overlap(c_, b_));
  EXPECT_FALSE(overlap(a_, second_));
}

TEST_F(Stack, AMountIsSeenOnTheDeviceOrItsDisk) {
  system_.set_mounts(
      "30 1 240:2 / /boot\\040me rw - ext4 /dev/sda2 rw\n31 1 241:300 / /srv rw - xfs /dev/c rw\n");
  EXPECT_EQ(facts(second_).mount_points, (Names{"/boot me"}));
  EXPECT_EQ(facts(disk_).mount_points, (Names{"/boot me"}));
  EXPECT_EQ(facts(c_).mount_points, (Names{"/srv"}));
  EXPECT_TRUE(facts(first_).mount_points.empty());
}

TEST_F(Stack, AnImageLiesOnItsFileSystemsDevices) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 512);
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  const unsigned major = gnu_dev_major(status.st_dev), minor = gnu_dev_minor(status.st_dev);
  if (major == 0) GTEST_SKIP() << scratch.path() << " is not on a device";
  // Pretend that the file system lies on a volume over b.
  const uint64_t volume = system_.add_device("dm-9", major, minor);
  system_.stack("dm-9", "dm-1");
  const DeviceFacts image = inspect(path, system_.root());
  EXPECT_EQ(image.underlying, (Numbers{volume, b_, first_, disk_}));
  EXPECT_TRUE(image.neighbours.empty());
  EXPECT_TRUE(overlaps(image, facts(b_)));
  EXPECT_TRUE(overlaps(facts(disk_), image));
  EXPECT_FALSE(overlaps(image, facts(a_)));
  EXPECT_EQ(devices_under_file_system(path, system_.root()), image.underlying);
  EXPECT_EQ(devices_under_file_system(scratch / "not/made/yet", system_.root()), image.underlying);
}

TEST(DeviceFacts, OfAFileSystemInMemoryHaveNoDevices) {
  struct stat status;
  if (::stat("/proc", &status) != 0) GTEST_SKIP() << "no /proc";
  EXPECT_TRUE(devices_under_file_system("/proc/self/status").empty());
}

TEST(DeviceFacts, FindTheFileSystemOfAFileThatDoesNotExistYetFromHere) {
  EXPECT_EQ(devices_under_file_system("not-there-yet"), devices_under_file_system("."));
}

// --- loops over files -----------------------------------------------------------

class Loops : public testing::Test {
 protected:
  uint64_t add_loop(const std::string& name, unsigned minor, const std::string& image) {
    return system_.add_device(name, 7, minor, {{"loop/backing_file", image}, {"loop/offset", "0"}});
  }
  ScratchDirectory scratch_;
  FakeSystem system_;
  std::string image_ = scratch_.make_file("image", 4096);
  std::string other_ = scratch_.make_file("other", 4096);
};

TEST_F(Loops, HoldTheFileTheyLieOver) {
  const uint64_t loop = add_loop("loop7", 7, image_);
  add_loop("loop8", 8, other_);
  system_.set_mounts("30 1 7:7 / /media rw - ext4 /dev/loop7 rw\n");
  const DeviceFacts facts = inspect(image_, system_.root());
  ASSERT_EQ(names_of(facts.holders), (Names{"loop7"}));
  EXPECT_EQ(facts.holders[0].device_number, loop);
  EXPECT_EQ(facts.mount_points, (Names{"/media"}));
  EXPECT_TRUE(inspect(other_, system_.root()).mount_points.empty());
}

TEST_F(Loops, HoldTheirTwinsAndWhatLiesOnThem) {
  const uint64_t loop = add_loop("loop7", 7, image_);
  const uint64_t part = system_.add_partition("loop7", "loop7p1", 259, 1, {{"partition", "1"}});
  const uint64_t linear = system_.add_device("dm-0", 241, 0, {{"dm/name", "linear"}});
  system_.stack("dm-0", "loop7");
  const uint64_t other = add_loop("loop9", 9, other_);
  add_loop("loop8", 8, image_);
  system_.add_partition("loop8", "loop8p1", 259, 2, {{"partition", "1"}});
  system_.set_mounts("30 1 259:2 / /media rw - ext4 /dev/loop8p1 rw\n");
  EXPECT_EQ(names_of(facts_of(system_, loop).holders), (Names{"dm-0 (linear)", "loop8"}));
  for (const uint64_t device : {part, linear}) {
    EXPECT_EQ(names_of(facts_of(system_, device).holders), (Names{"loop8"}));
    EXPECT_EQ(facts_of(system_, device).mount_points, (Names{"/media"}));
  }
  EXPECT_TRUE(facts_of(system_, other).holders.empty());
  EXPECT_TRUE(facts_of(system_, other).mount_points.empty());
}

TEST_F(Loops, OverAFileInUseAsSwapAreInUseAsThat) {
  const uint64_t loop = add_loop("loop7", 7, image_), other = add_loop("loop8", 8, other_);
  system_.set_swaps(image_ + "\tfile\t\t4\t0\t-2\n");
  EXPECT_TRUE(facts_of(system_, loop).is_swap);
  EXPECT_FALSE(facts_of(system_, other).is_swap);
}

TEST_F(Loops, OverlapTheirFileAndOtherLoopsOverIt) {
  const DeviceFacts first = facts_of(system_, add_loop("loop7", 7, image_));
  const DeviceFacts second = facts_of(system_, add_loop("loop8", 8, image_));
  const DeviceFacts third = facts_of(system_, add_loop("loop9", 9, other_));
  EXPECT_TRUE(overlaps(first, inspect(image_, system_.root())));
  EXPECT_TRUE(overlaps(inspect(image_, system_.root()), first));
  EXPECT_TRUE(overlaps(first, second));
  EXPECT_FALSE(overlaps(first, third));
  EXPECT_FALSE(overlaps(third, inspect(image_, system_.root())));
  EXPECT_FALSE(overlaps(inspect(image_, system_.root()), inspect(other_, system_.root())));
  EXPECT_TRUE(overlaps(inspect(image_, system_.root()), inspect(image_, system_.root())));
}

TEST_F(Loops, WithPartitionsSideBySideDoNotOverlapButThoseOfATwinDo) {
  add_loop("loop7", 7, image_);
  const uint64_t one = system_.add_partition("loop7", "loop7p1", 259, 1, {{"partition", "1"}});
  const uint64_t two = system_.add_partition("loop7", "loop7p2", 259, 2, {{"partition", "2"}});
  const uint64_t twin = add_loop("loop8", 8, image_);
  EXPECT_FALSE(overlaps(facts_of(system_, one), facts_of(system_, two)));
  EXPECT_TRUE(overlaps(facts_of(system_, one), facts_of(system_, twin)));
}

TEST_F(Loops, OverADeviceLieOnItAndHoldIt) {
  const ScratchLoopDevice below(image_);
  SKIP_UNLESS(below);
  const uint64_t lower =
      system_.add_device("lower", gnu_dev_major(below.number()), gnu_dev_minor(below.number()));
  const uint64_t upper = add_loop("upper", 200, below.path());
  EXPECT_EQ(facts_of(system_, upper).underlying, (Numbers{upper, lower}));
  EXPECT_EQ(names_of(facts_of(system_, lower).holders), (Names{"upper"}));
  EXPECT_TRUE(overlaps(facts_of(system_, upper), facts_of(system_, lower)));
}

}  // namespace
}  // namespace extmerge
