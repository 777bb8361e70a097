// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/mount_table.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "io/error.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

TEST(MountTable, UndoesTheKernelsEscapesAndNothingElse) {
  EXPECT_EQ(unescape_octal("/mnt/my\\040disk\\011\\134"), "/mnt/my disk\t\\");
  EXPECT_EQ(unescape_octal("/plain"), "/plain");
  EXPECT_EQ(unescape_octal("a\\09"), "a\\09");
  EXPECT_EQ(unescape_octal("end\\04"), "end\\04");
  EXPECT_EQ(unescape_octal("end\\"), "end\\");
}

TEST(MountTable, ReadsLinesWithAnyNumberOfTags) {
  FakeSystem system;
  system.set_mounts(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
      "37 35 253:1234 / /srv/my\\040disk rw - xfs /dev/mapper/a\\040b rw\n"
      "38 35 0:45 / /run rw shared:5 master:2 propagate_from:3 - tmpfs tmpfs rw\n");
  const std::vector<Mount> mounts = read_mounts(system.root());
  ASSERT_EQ(mounts.size(), 3u);
  EXPECT_EQ(mounts[0].id, 36u);
  EXPECT_EQ(mounts[0].device_number, gnu_dev_makedev(98, 0));
  EXPECT_EQ(mounts[0].mount_point, "/mnt2");
  EXPECT_EQ(mounts[1].device_number, gnu_dev_makedev(253, 1234));
  EXPECT_EQ(mounts[1].mount_point, "/srv/my disk");
  EXPECT_EQ(mounts[1].source, "/dev/mapper/a b");
  EXPECT_EQ(mounts[2].source, "tmpfs");
}

TEST(MountTable, PassesOverLinesItDoesNotUnderstand) {
  FakeSystem system;
  system.set_mounts(
      "garbage\n\n36 35 98 / /a rw - ext4 /dev/a rw\n37 35 8:1 / /b rw - ext4 x rw\n");
  const std::vector<Mount> mounts = read_mounts(system.root());
  ASSERT_EQ(mounts.size(), 1u);
  EXPECT_EQ(mounts[0].mount_point, "/b");
}

TEST(MountTable, ThatCannotBeOpenedIsAFailureAndNotEmpty) {
#ifdef EXTMERGE_SANITIZED
  GTEST_SKIP() << "sanitizers open files of their own";
#endif
  const NoMoreFiles none;
  EXPECT_THROW(read_mounts(SystemRoot{}), Error);
  EXPECT_THROW(swap_paths(SystemRoot{}), Error);
}

// Makes a file in /proc or a folder in /sys unreadable.
void make_unreadable(const fs::path& path) {
  fs::remove_all(path);
  fs::create_directory(path);  // EISDIR
}
void make_empty(const fs::path& path) { std::ofstream(path, std::ios::trunc).close(); }

TEST(MountTable, ThatIsMissingEmptyOrUnreadableIsNoTableWithoutMounts) {
  for (const auto& hide :
       {+[](const fs::path& path) { fs::remove(path); }, +make_empty, +make_unreadable}) {
    const FakeSystem system;
    hide(system.root().proc + "/self/mountinfo");
    EXPECT_EQ(thrown_by([&] { read_mounts(system.root()); }), MessageId::kCannotLook);
  }
}

TEST(MountTable, OfSwapThatIsEmptyOrUnreadableIsNoListWithoutSwap) {
  for (const auto& hide : {+make_empty, +make_unreadable}) {
    const FakeSystem system;
    hide(system.root().proc + "/swaps");
    std::ofstream(system.root().proc + "/meminfo") << "MemFree: 1 kB\nSwapTotal:   0 kB\n";
    EXPECT_EQ(thrown_by([&] { swap_paths(system.root()); }), MessageId::kCannotLook);
  }
}

// A kernel without swap has no /proc/swaps, and a total of 0.
TEST(MountTable, OfSwapMayBeMissingWhereTheKernelHasNone) {
  const FakeSystem system;
  fs::remove(system.root().proc + "/swaps");
  const auto swap = [&] { return swap_paths(system.root()); };
  EXPECT_EQ(thrown_by(swap), MessageId::kCannotLook);
  const auto tell = [&](const char* facts) {
    std::ofstream(system.root().proc + "/meminfo") << facts;
  };
  tell("MemFree: 1 kB\nSwapTotal:   1024 kB\nSwapFree: 0 kB\n");
  EXPECT_EQ(thrown_by(swap), MessageId::kCannotLook);
  tell("MemFree: 1 kB\n");
  EXPECT_EQ(thrown_by(swap), MessageId::kCannotLook);
  tell("MemFree: 1 kB\nSwapCached: 0 kB\nSwapTotal:         0 kB\nSwapFree: 0 kB\n");
  EXPECT_TRUE(swap().empty());
}

// A folder with a copy of a system has such files, too.
TEST(MountTable, InAFolderThatIsNoProcfsIsNotBelieved) {
  FakeSystem system;
  system.set_mounts("30 1 240:2 / / rw - ext4 /dev/sda2 rw\n");
  SystemRoot root = system.root();
  EXPECT_EQ(read_mounts(root).size(), 1u);
  root.is_kernels = true;
  EXPECT_EQ(thrown_by([&] { read_mounts(root); }), MessageId::kCannotLook);
}

TEST(MountTable, ReadsThisMachinesOwn) {
  const std::vector<Mount> mounts = read_mounts(SystemRoot{});
  const auto is_root = [](const Mount& mount) { return mount.mount_point == "/"; };
  EXPECT_TRUE(std::any_of(mounts.begin(), mounts.end(), is_root));
}

TEST(MountTable, KnowsTheDeviceOfAFileSystemByItsNumber) {
  FakeSystem system;
  EXPECT_EQ(devices_under(system.root(), {1, gnu_dev_makedev(8, 3), "/", "anything", "ext4"}),
            (std::vector<uint64_t>{gnu_dev_makedev(8, 3)}));
  EXPECT_TRUE(
      devices_under(system.root(), {1, gnu_dev_makedev(0, 3), "/", "tmpfs", "tmpfs"}).empty());
  EXPECT_TRUE(
      devices_under(system.root(), {1, gnu_dev_makedev(0, 3), "/", "/none", "nfs"}).empty());
  EXPECT_TRUE(devices_under(system.root(), {1, gnu_dev_makedev(0, 3), "/", "", "tmpfs"}).empty());
}

TEST(MountTable, KnowsAllDevicesOfABtrfsByTheOneThatIsNamed) {
  const ScratchDirectory scratch;
  const ScratchLoopDevice loop(scratch.make_file("image", 1 << 20));
  SKIP_UNLESS(loop);
  FakeSystem system;
  const Mount mount{1, gnu_dev_makedev(0, 50), "/srv", loop.path(), "btrfs"};
  EXPECT_EQ(devices_under(system.root(), mount), (std::vector<uint64_t>{loop.number()}));

  system.add_device("loopx", gnu_dev_major(loop.number()), gnu_dev_minor(loop.number()));
  const uint64_t second = system.add_device("sdb", 8, 16);
  system.add_device("sdc", 8, 32);
  system.add_btrfs("aaaa", {"sdc"});
  system.add_btrfs("bbbb", {"loopx", "sdb"});
  EXPECT_EQ(devices_under(system.root(), mount), (std::vector<uint64_t>{loop.number(), second}));
}

TEST(MountTable, TakesEveryBtrfsForTheOneWhoseDeviceHasNoNodeHere) {
  FakeSystem system;
  const uint64_t first = system.add_device("sdb", 8, 16), second = system.add_device("sdc", 8, 32);
  system.add_btrfs("aaaa", {"sdb"});
  system.add_btrfs("bbbb", {"sdc"});
  const Mount mount{1, gnu_dev_makedev(0, 50), "/srv", "/no/such/node", "btrfs"};
  std::vector<uint64_t> devices = devices_under(system.root(), mount);
  std::ranges::sort(devices);
  EXPECT_EQ(devices, (std::vector<uint64_t>{first, second}));
}

TEST(MountTable, ListsSwapByItsPath) {
  FakeSystem system;
  system.set_swaps("/dev/dm-1  partition\t976892\t0\t-2\n/my\\040swap\tfile\t1024\t0\t-3\n");
  EXPECT_EQ(swap_paths(system.root()), (std::vector<std::string>{"/dev/dm-1", "/my swap"}));
}

}  // namespace
}  // namespace extmerge
