// SPDX-License-Identifier: GPL-3.0-or-later
//
// Other users of a loop device's backing file, with real loop devices: the facts show them, and a
// claim excludes them. A test is skipped if the machine has no loop devices.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "io/file_descriptor.h"
#include "io/file_device.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

class LoopUsers : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  std::string image_ = scratch_.make_file("image", kImageSize);
};

TEST_F(LoopUsers, IsHeldByATwinOverTheSameFile) {
  const ScratchLoopDevice first(image_), second(image_),
      other(scratch_.make_file("other", kImageSize));
  SKIP_UNLESS(first);
  SKIP_UNLESS(second);
  SKIP_UNLESS(other);
  const DeviceFacts facts = inspect(first.path());
  ASSERT_EQ(facts.holders.size(), 1u);
  EXPECT_EQ("/dev/" + facts.holders[0].name, second.path());
  EXPECT_EQ(facts.holders[0].device_number, second.number());
  EXPECT_TRUE(inspect(other.path()).holders.empty());
  EXPECT_EQ(inspect(image_).holders.size(), 2u);
}

TEST_F(LoopUsers, WhoseTwinIsClaimedCannotBe) {
  const ScratchLoopDevice first(image_), second(image_);
  SKIP_UNLESS(first);
  SKIP_UNLESS(second);
  {
    const auto claim = open_at(first.path(), OpenMode::kClaim);
    for (const OpenMode mode : {OpenMode::kClaim, OpenMode::kShare, OpenMode::kProbe}) {
      EXPECT_EQ(opening(second.path(), mode), MessageId::kLocked);
    }
    EXPECT_EQ(opening(second.path(), OpenMode::kReadOnly), kNothingThrown);
  }
  EXPECT_EQ(opening(second.path(), OpenMode::kClaim), kNothingThrown);
}

TEST_F(LoopUsers, AndItsFileAreNotBothClaimed) {
  const auto image = open_at(image_, OpenMode::kClaim);
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const ScratchLoopDevice upper(loop.path());
  SKIP_UNLESS(upper);
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), MessageId::kLocked);
  EXPECT_EQ(opening(upper.path(), OpenMode::kClaim), MessageId::kLocked);
}

// The flags with which this process has opened `path`, one for each descriptor.
std::vector<int> flags_of(const std::string& path) {
  std::vector<int> flags;
  for (const auto& file : fs::directory_iterator("/proc/self/fd")) {
    std::error_code closed;
    if (fs::read_symlink(file.path(), closed) != path) continue;
    flags.push_back(::fcntl(std::stoi(file.path().filename()), F_GETFL));
  }
  return flags;
}

// NFS refuses an exclusive lock on a file that is not open for writing: EBADF.
TEST_F(LoopUsers, LocksItsFileByAnOpeningForWriting) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const ScratchLoopDevice upper(loop.path());
  SKIP_UNLESS(upper);
  for (const OpenMode mode : {OpenMode::kClaim, OpenMode::kShare, OpenMode::kProbe}) {
    const auto claim = open_at(upper.path(), mode);
    ASSERT_EQ(flags_of(image_).size(), 1u);
    EXPECT_EQ(flags_of(image_)[0] & O_ACCMODE, O_RDWR);
    // udev probes a device that was open for writing.
    ASSERT_EQ(flags_of(loop.path()).size(), 1u);
    EXPECT_EQ(flags_of(loop.path())[0] & O_ACCMODE, O_RDONLY);
  }
}

TEST_F(LoopUsers, ThatIsClaimedKeepsItsFileFromBeingClaimed) {
  const ScratchLoopDevice loop(image_, "-o 4096");
  SKIP_UNLESS(loop);
  auto claim = open_at(loop.path(), OpenMode::kShare);
  EXPECT_EQ(opening(image_, OpenMode::kClaim), MessageId::kLocked);
  const auto queue = claim->make_queue(1);  // keeps the claim while requests are in flight
  claim.reset();
  EXPECT_EQ(opening(image_, OpenMode::kClaim), MessageId::kLocked);
}

TEST_F(LoopUsers, WithoutANameForItsFileIsClaimedWithoutIt) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  fs::rename(image_, scratch_ / "aside");
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), kNothingThrown);
  fs::remove(scratch_ / "aside");
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), kNothingThrown);
}

TEST_F(LoopUsers, WhoseFileAVirtualMachineHasLockedIsInUse) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const FileDescriptor machine(::open(image_.c_str(), O_RDONLY | O_CLOEXEC));
  struct flock range {};
  range.l_type = F_RDLCK;
  range.l_whence = SEEK_SET;
  range.l_start = 100;
  range.l_len = 1;
  ASSERT_EQ(::fcntl(machine.get(), F_OFD_SETLK, &range), 0);
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), MessageId::kInUse);
}

TEST_F(LoopUsers, WhoseTwinIsMountedIsMounted) {
  const ScratchLoopDevice mounted_one(image_), other(image_);
  SKIP_UNLESS(mounted_one);
  SKIP_UNLESS(other);
  const std::string where = scratch_ / "mnt";
  const Mounted mounted(mounted_one.path(), where);
  if (!mounted.works()) GTEST_SKIP() << "cannot make and mount an ext4 here";
  EXPECT_EQ(inspect(other.path()).mount_points, (std::vector<std::string>{where}));
}

TEST_F(LoopUsers, OverAMountedDeviceIsMounted) {
  const ScratchLoopDevice lower(image_);
  SKIP_UNLESS(lower);
  const ScratchLoopDevice upper(lower.path());
  SKIP_UNLESS(upper);
  const std::string where = scratch_ / "mnt";
  const Mounted mounted(lower.path(), where);
  if (!mounted.works()) GTEST_SKIP() << "cannot make and mount an ext4 here";
  EXPECT_EQ(inspect(upper.path()).mount_points, (std::vector<std::string>{where}));
}

TEST_F(LoopUsers, ThatIsMountedIsSeenAndCannotBeClaimed) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const std::string where = scratch_ / "mounted here";
  const Mounted mounted(loop.path(), where);
  if (!mounted.works()) GTEST_SKIP() << "cannot make and mount an ext4 here";
  EXPECT_EQ(inspect(loop.path()).mount_points, (std::vector<std::string>{where}));
  EXPECT_EQ(inspect(image_).mount_points, (std::vector<std::string>{where}));
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), MessageId::kInUse);
  EXPECT_EQ(opening(loop.path(), OpenMode::kProbe), MessageId::kInUse);
  const std::vector<uint64_t> below = devices_under_file_system(where + "/journal");
  ASSERT_FALSE(below.empty());
  EXPECT_EQ(below[0], loop.number());
}

}  // namespace
}  // namespace extmerge
