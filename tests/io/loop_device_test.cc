// SPDX-License-Identifier: GPL-3.0-or-later
//
// Real block devices: loop devices over files. A test is skipped if the machine has none
// (containers, no root).

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "io/buffer.h"
#include "io/file_descriptor.h"
#include "io/file_device.h"
#include "io/transfer.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

std::optional<IoFailure> try_one(BlockDevice& device, Direction direction, uint64_t offset,
                                 std::span<std::byte> memory) {
  const auto queue = device.make_queue(1);
  IoRequest request{direction, Bytes(offset), memory};
  return transfer(device, *queue, {&request, 1});
}

class LoopDeviceTest : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  std::string image_ = scratch_.make_file("image", kImageSize);
};

TEST_F(LoopDeviceTest, IsFoundByItsNumberWhereItsNameLeadsNowhereOrElsewhere) {
  const ScratchLoopDevice loop(image_), other(scratch_.make_file("other", kImageSize));
  SKIP_UNLESS(loop);
  SKIP_UNLESS(other);
  const std::string link = scratch_.path() + "/link";
  for (const std::string& target : {scratch_.path() + "/nothing", other.path(), loop.path()}) {
    fs::remove(link);
    fs::create_symlink(target, link);
    const DeviceFacts facts = inspect_device(loop.number(), link);
    EXPECT_EQ(facts.device_number, loop.number()) << target;
    EXPECT_EQ(facts.path, link);
    EXPECT_EQ(facts.node, loop.path());
    // The link may disappear, or lead elsewhere, before it is opened.
    fs::remove(link);
    fs::create_symlink(other.path(), link);
    EXPECT_TRUE(FileDevice::open(facts, OpenMode::kClaim, Bytes(4096))) << target;
  }
  fs::remove(link);
  const uint64_t nobody = makedev(7, 0xfffff);
  EXPECT_FALSE(inspect_device(nobody, loop.path()).exists);
}

TEST_F(LoopDeviceTest, ClaimedForReadingIsKeptFromAllOthers) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const DeviceFacts facts = inspect(loop.path());
  const FileDescriptor claim = claim_read_only(facts);
  EXPECT_EQ(::open(loop.path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC), -1);
  EXPECT_EQ(::write(claim.get(), "x", 1), -1);
  EXPECT_EQ(thrown_by([&] { claim_read_only(facts); }), MessageId::kInUse);
}

TEST_F(LoopDeviceTest, HasTheSizeAndSectorsItWasGiven) {
  for (const unsigned sector : {512u, 4096u}) {
    const ScratchLoopDevice loop(image_, "-b " + std::to_string(sector));
    SKIP_UNLESS(loop);
    const DeviceFacts facts = inspect(loop.path());
    EXPECT_TRUE(facts.exists && facts.is_block && !facts.is_regular);
    EXPECT_EQ(facts.device_number, loop.number());
    EXPECT_EQ(facts.size, Bytes(kImageSize));
    EXPECT_EQ(facts.logical_block_size, Bytes(sector));
    EXPECT_FALSE(facts.read_only || facts.is_swap);
    const auto device = open_at(loop.path(), OpenMode::kClaim);
    EXPECT_TRUE(device->is_direct());
    EXPECT_EQ(device->size(), Bytes(kImageSize));
    EXPECT_EQ(device->logical_block_size(), Bytes(sector));
  }
}

TEST_F(LoopDeviceTest, ReadsAndWritesWhereItIsTold) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const auto device = open_at(loop.path(), OpenMode::kClaim);
  const auto queue = device->make_queue(2);
  const Buffer buffer(kImageSize);
  read_fully(*device, *queue, Bytes(0), buffer.span());
  EXPECT_TRUE(std::ranges::equal(buffer.span(), pattern(kImageSize)));
  std::fill_n(buffer.data(), 1536, std::byte{0xee});
  write_fully(*device, *queue, Bytes(512), buffer.span().first(1536));
  EXPECT_EQ(device->flush(), 0);
  const Buffer again(4096);
  read_fully(*device, *queue, Bytes(0), again.span());
  EXPECT_EQ(again.span()[511], std::byte{0});
  EXPECT_EQ(again.span()[512], std::byte{0xee});
  EXPECT_EQ(again.span()[2047], std::byte{0xee});
  EXPECT_EQ(again.span()[2048], std::byte{4});
}

TEST_F(LoopDeviceTest, HasZerosWhereTheyAreWanted) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const auto device = open_at(loop.path(), OpenMode::kClaim, Bytes(4096));
  ASSERT_EQ(device->write_zeros(Bytes(16384), Bytes(8192)), 0);
  const Buffer all(kImageSize);
  read_fully(*device, *device->make_queue(4), Bytes(0), all.span());
  std::vector<std::byte> expected = pattern(kImageSize);
  std::fill_n(expected.begin() + 16384, 8192, std::byte{0});
  EXPECT_TRUE(std::ranges::equal(all.span(), expected));
  // Not along whole sectors.
  EXPECT_EQ(device->write_zeros(Bytes(100), Bytes(512)), EOPNOTSUPP);
}

TEST_F(LoopDeviceTest, ClaimedOnceIsInUseForAllOthers) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const auto claim = open_at(loop.path(), OpenMode::kClaim);
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), MessageId::kInUse);
  EXPECT_EQ(opening(loop.path(), OpenMode::kProbe), MessageId::kInUse);
  EXPECT_EQ(opening(loop.path(), OpenMode::kShare), MessageId::kLocked);
  EXPECT_EQ(opening(loop.path(), OpenMode::kReadOnly), kNothingThrown);
}

TEST_F(LoopDeviceTest, SharedIsStillLockedAgainstTheNextOne) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  // Open as a dm table does: exclusive, without the lock.
  const FileDescriptor holder(::open(loop.path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  ASSERT_TRUE(holder);
  const auto shared = open_at(loop.path(), OpenMode::kShare);
  EXPECT_EQ(opening(loop.path(), OpenMode::kShare), MessageId::kLocked);
  const Buffer buffer(4096);
  EXPECT_FALSE(try_one(*shared, Direction::kWrite, 0, buffer.span()));
}

TEST_F(LoopDeviceTest, ProbedIsFreeAfterwardsAndWasNotWritable) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  {
    const auto probe = open_at(loop.path(), OpenMode::kProbe);
    const Buffer buffer(512);
    const auto failure = try_one(*probe, Direction::kWrite, 0, buffer.span());
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->error_number, EBADF);
  }
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), kNothingThrown);
}

TEST_F(LoopDeviceTest, ThatIsReadOnlyIsReadAndNotWritten) {
  const ScratchLoopDevice loop(image_, "-r");
  SKIP_UNLESS(loop);
  EXPECT_TRUE(inspect(loop.path()).read_only);
  for (const OpenMode mode : {OpenMode::kClaim, OpenMode::kShare, OpenMode::kProbe}) {
    EXPECT_EQ(opening(loop.path(), mode), MessageId::kReadOnly);
  }
  EXPECT_EQ(opening(loop.path(), OpenMode::kReadOnly), kNothingThrown);
}

TEST_F(LoopDeviceTest, ThatWasMadeReadOnlyWithBlkrosetIsSeenAsThat) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const FileDescriptor file(::open(loop.path().c_str(), O_RDONLY | O_CLOEXEC));
  const auto set_read_only = [&](int read_only) {
    EXPECT_EQ(::ioctl(file.get(), BLKROSET, &read_only), 0);
  };
  set_read_only(1);
  EXPECT_TRUE(inspect(loop.path()).read_only);
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), MessageId::kReadOnly);
  set_read_only(0);  // the kernel keeps it for the next user of this loop device
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), kNothingThrown);
}

// Linux writes the part that fits and reports success.
TEST_F(LoopDeviceTest, EndsInAFailureThatSaysWhere) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const auto device = open_at(loop.path(), OpenMode::kClaim);
  const Buffer buffer(65536);
  auto failure = try_one(*device, Direction::kWrite, kImageSize - 32768, buffer.span());
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, ENOSPC);
  EXPECT_EQ(failure->offset, Bytes(kImageSize));
  failure = try_one(*device, Direction::kRead, kImageSize - 32768, buffer.span());
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, ENODATA);
  EXPECT_EQ(failure->offset, Bytes(kImageSize));
  failure = try_one(*device, Direction::kWrite, kImageSize, buffer.span());
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, ENOSPC);
}

TEST_F(LoopDeviceTest, WithSectorsOf4096RefusesSmallerRequests) {
  const ScratchLoopDevice loop(image_, "-b 4096");
  SKIP_UNLESS(loop);
  const auto device = open_at(loop.path(), OpenMode::kClaim);
  const Buffer buffer(8192);
  const auto failure = try_one(*device, Direction::kWrite, 4096, buffer.span().first(512));
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, EINVAL);
  EXPECT_FALSE(try_one(*device, Direction::kWrite, 4096, buffer.span()));
}

TEST_F(LoopDeviceTest, CannotBeExtended) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const auto device = open_at(loop.path(), OpenMode::kClaim);
  EXPECT_EQ(thrown_by([&] { device->resize(Bytes(2 * kImageSize)); }), MessageId::kCannotExtend);
  EXPECT_EQ(fs::file_size(image_), kImageSize);
}

TEST_F(LoopDeviceTest, LeavesTheCacheWhenTold) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const auto device = open_at(loop.path(), OpenMode::kClaim);
  const FileDescriptor reader(::open(loop.path().c_str(), O_RDONLY | O_CLOEXEC));
  char byte = 0;
  ASSERT_EQ(::pread(reader.get(), &byte, 1, 0), 1);
  void* const mapping = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, reader.get(), 0);
  ASSERT_NE(mapping, MAP_FAILED);
  unsigned char resident = 0;
  ASSERT_EQ(::mincore(mapping, 4096, &resident), 0);
  EXPECT_EQ(resident & 1, 1);
  device->drop_cache();
  ASSERT_EQ(::mincore(mapping, 4096, &resident), 0);
  EXPECT_EQ(resident & 1, 0);
  ::munmap(mapping, 4096);
}

TEST_F(LoopDeviceTest, ThatWasReplacedAfterItWasInspectedIsNotOpened) {
  const ScratchLoopDevice loop(image_);
  const ScratchLoopDevice other(scratch_.make_file("other", kImageSize));
  SKIP_UNLESS(loop);
  SKIP_UNLESS(other);
  const std::string link = scratch_ / "origin";
  fs::create_symlink(loop.path(), link);
  const DeviceFacts facts = inspect(link);
  const auto open = [&] { FileDevice::open(facts, OpenMode::kReadOnly, Bytes(512)); };
  EXPECT_EQ(thrown_by(open), kNothingThrown);
  fs::remove(link);
  fs::create_symlink(other.path(), link);
  EXPECT_EQ(thrown_by(open), MessageId::kPathChanged);
  fs::remove(link);
  fs::create_symlink(image_, link);
  EXPECT_EQ(thrown_by(open), MessageId::kPathChanged);
}

TEST_F(LoopDeviceTest, WhoseNumberWentToAnotherDiskIsNotOpened) {
  DeviceFacts facts;
  {
    const ScratchLoopDevice loop(image_);
    SKIP_UNLESS(loop);
    facts = inspect(loop.path());
  }
  const ScratchLoopDevice successor(scratch_.make_file("other", kImageSize));
  SKIP_UNLESS(successor);
  if (successor.path() != facts.path) GTEST_SKIP() << "the number went to somebody else";
  EXPECT_EQ(thrown_by([&] { FileDevice::open(facts, OpenMode::kReadOnly, Bytes(512)); }),
            MessageId::kPathChanged);
}

TEST_F(LoopDeviceTest, IsKnownByItsFile) {
  const ScratchLoopDevice loop(image_, "-o 1048576");
  SKIP_UNLESS(loop);
  const DeviceFacts image = inspect(image_);
  const DeviceFacts facts = inspect(loop.path());
  EXPECT_EQ(facts.identity, "loop:" + image.identity + "+1048576");
  ASSERT_EQ(image.holders.size(), 1u);
  EXPECT_EQ("/dev/" + image.holders[0].name, loop.path());
  EXPECT_EQ(image.holders[0].device_number, loop.number());
  EXPECT_TRUE(overlaps(facts, image));
  EXPECT_TRUE(overlaps(image, facts));
}

// The name in sysfs then ends in "(deleted)"; the kernel still knows the inode.
TEST_F(LoopDeviceTest, IsKnownByItsFileEvenIfThatHasNoNameAnyMore) {
  const std::string twin = scratch_ / "twin";
  fs::create_hard_link(image_, twin);
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  fs::remove(image_);
  EXPECT_EQ(inspect(twin).holders.size(), 1u);
  EXPECT_TRUE(overlaps(inspect(loop.path()), inspect(twin)));
}

TEST_F(LoopDeviceTest, OverlapsATwinOverTheSameFile) {
  const ScratchLoopDevice first(image_), second(image_),
      other(scratch_.make_file("other", kImageSize));
  SKIP_UNLESS(first);
  SKIP_UNLESS(second);
  SKIP_UNLESS(other);
  EXPECT_TRUE(overlaps(inspect(first.path()), inspect(second.path())));
  EXPECT_TRUE(overlaps(inspect(first.path()), inspect(first.path())));
  EXPECT_FALSE(overlaps(inspect(first.path()), inspect(other.path())));
}

TEST_F(LoopDeviceTest, OverAnotherOneHoldsItAndOverlapsIt) {
  const ScratchLoopDevice lower(image_);
  SKIP_UNLESS(lower);
  const ScratchLoopDevice upper(lower.path());
  SKIP_UNLESS(upper);
  const DeviceFacts facts = inspect(lower.path());
  ASSERT_EQ(facts.holders.size(), 1u);
  EXPECT_EQ(facts.holders[0].device_number, upper.number());
  EXPECT_TRUE(overlaps(inspect(upper.path()), facts));
  EXPECT_EQ(inspect(upper.path()).identity, facts.identity);
}

TEST_F(LoopDeviceTest, OverAWholeFileIsTheSameAsTheFileAndOverAPartOfItIsNot) {
  const std::string file = inspect(image_).identity;
  for (const auto& [options, identity] : {std::pair{"", file}, std::pair{"-b 4096", file},
                                          std::pair{"-o 4096", "loop:" + file + "+4096"},
                                          std::pair{"--sizelimit 4096", "loop:" + file + "+0"}}) {
    const ScratchLoopDevice loop(image_, options);
    SKIP_UNLESS(loop);
    EXPECT_EQ(inspect(loop.path()).identity, identity) << options;
  }
}

// Adds a partition to the kernel without a partition table: some test kernels cannot read one.
bool add_partition(const std::string& disk, int number, long long start, long long length) {
  blkpg_partition partition{};
  partition.pno = number;
  partition.start = start;
  partition.length = length;
  blkpg_ioctl_arg argument{};
  argument.op = BLKPG_ADD_PARTITION;
  argument.datalen = sizeof partition;
  argument.data = &partition;
  const FileDescriptor file(::open(disk.c_str(), O_RDONLY | O_CLOEXEC));
  return ::ioctl(file.get(), BLKPG, &argument) == 0;
}

TEST_F(LoopDeviceTest, WithPartitionsOverlapsThemAndTheyDoNotOverlapEachOther) {
  const ScratchLoopDevice loop(image_, "-P");
  SKIP_UNLESS(loop);
  constexpr long long kPart = 1 << 20;
  if (!add_partition(loop.path(), 1, kPart, kPart) ||
      !add_partition(loop.path(), 2, 4 * kPart, kPart)) {
    GTEST_SKIP() << "this kernel's loop devices have no partitions";
  }
  const DeviceFacts disk = inspect(loop.path());
  const DeviceFacts first = inspect(loop.path() + "p1"), second = inspect(loop.path() + "p2");
  if (!first.exists || !second.exists) GTEST_SKIP() << "no nodes for partitions of loops here";
  EXPECT_EQ(first.size, Bytes(1 << 20));
  EXPECT_TRUE(overlaps(disk, first));
  EXPECT_TRUE(overlaps(second, disk));
  EXPECT_TRUE(overlaps(first, inspect(image_)));
  EXPECT_FALSE(overlaps(first, second));
  EXPECT_EQ(first.identity, disk.identity + ",partition=1,start=2048");
  EXPECT_EQ(second.identity, disk.identity + ",partition=2,start=8192");
  const auto claim = open_at(loop.path() + "p1", OpenMode::kClaim);
  EXPECT_EQ(opening(loop.path(), OpenMode::kClaim), MessageId::kInUse);
  EXPECT_EQ(opening(loop.path() + "p2", OpenMode::kProbe), kNothingThrown);
  EXPECT_EQ(opening(image_, OpenMode::kProbe), MessageId::kLocked);
}

TEST_F(LoopDeviceTest, OfLargeSectorsMakesAnImageOnItBufferedUnlessItsEndsAreLargeToo) {
  const ScratchLoopDevice loop(image_, "-b 4096");
  SKIP_UNLESS(loop);
  const Mounted mounted(loop.path(), scratch_ / "mnt");
  if (!mounted.works()) GTEST_SKIP() << "cannot make and mount an ext4 here";
  const ScratchDirectory inside(scratch_ / "mnt");
  const std::string path = inside.make_file("image", 65536 + 512);
  const auto direct = open_at(path, OpenMode::kReadOnly, Bytes(4096));
  EXPECT_TRUE(direct->is_direct());
  EXPECT_EQ(direct->logical_block_size(), Bytes(4096));
  const auto buffered = open_at(path, OpenMode::kClaim, Bytes(512));
  EXPECT_FALSE(buffered->is_direct());
  const Buffer buffer(512);
  EXPECT_FALSE(try_one(*buffered, Direction::kWrite, 65536, buffer.span()));
  EXPECT_TRUE(overlaps(inspect(path), inspect(loop.path())));
  EXPECT_TRUE(overlaps(inspect(image_), inspect(path)));
}

// The file's file system is full: the kernel cuts the write short.
TEST_F(LoopDeviceTest, ThatIsFullFailsTheWriteOfAnImageOnIt) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  const Mounted mounted(loop.path(), scratch_ / "mnt");
  if (!mounted.works()) GTEST_SKIP() << "cannot make and mount an ext4 here";
  const ScratchDirectory inside(scratch_ / "mnt");
  const std::string path = inside.make_file("image", 4096);
  for (const Bytes ends : {Bytes(4096), Bytes(1)}) {
    const auto device = open_at(path, OpenMode::kClaim, ends);
    device->resize(Bytes(2 * kImageSize));
    const Buffer buffer(2 * kImageSize);
    const auto failure = try_one(*device, Direction::kWrite, 0, buffer.span());
    ASSERT_TRUE(failure) << ends.value();
    EXPECT_EQ(failure->error_number, ENOSPC);
  }
}

TEST_F(LoopDeviceTest, WithoutPermissionCannotBeInspected) {
  const ScratchLoopDevice loop(image_);
  SKIP_UNLESS(loop);
  ASSERT_EQ(::seteuid(65534), 0);
  const MessageId thrown = thrown_by([&] { inspect(loop.path()); });
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_EQ(thrown, MessageId::kPermission);
}

}  // namespace
}  // namespace extmerge
