// SPDX-License-Identifier: GPL-3.0-or-later
//
// Image files, direct and buffered. Devices are in loop_device_test.cc.

#include "io/file_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "io/buffer.h"
#include "io/file_descriptor.h"
#include "io/mount_table.h"
#include "io/transfer.h"
#include "tests/io/scratch.h"

// The linker sends all calls of fsync() here (--wrap).
std::atomic<int> fsync_calls;
extern "C" {
int __real_fsync(int file);   // NOLINT(bugprone-reserved-identifier)
int __wrap_fsync(int file) {  // NOLINT(bugprone-reserved-identifier)
  ++fsync_calls;
  return __real_fsync(file);
}
}

namespace extmerge {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kAnyBlock(4096);  // ends that fit every file

class ImageFile : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  std::string path_ = scratch_.make_file("image", 65536);
};

TEST_F(ImageFile, ReadsAndWritesWhereItIsTold) {
  for (const auto& [ends, depth] :
       {std::pair(Bytes(4096), 4u), {Bytes(1), 4u}, {Bytes(4096), 1u}, {Bytes(1), 1u}}) {
    const auto device = open_at(path_, OpenMode::kClaim, ends);
    EXPECT_EQ(device->name(), path_);
    EXPECT_EQ(device->size(), Bytes(65536));
    const auto queue = device->make_queue(depth);
    const Buffer buffer(8192);
    std::fill(buffer.span().begin(), buffer.span().end(), std::byte{0xee});
    write_fully(*device, *queue, Bytes(16384), buffer.span());
    EXPECT_EQ(device->flush(), 0);
    const Buffer all(65536);
    read_fully(*device, *queue, Bytes(0), all.span());
    std::vector<std::byte> expected = pattern(65536);
    std::fill_n(expected.begin() + 16384, 8192, std::byte{0xee});
    EXPECT_TRUE(std::ranges::equal(all.span(), expected));
  }
}

TEST_F(ImageFile, HasZerosWhereTheyAreWanted) {
  const std::string in_memory = "/dev/shm/extmerge-zeros." + std::to_string(::getpid());
  fs::copy_file(path_, in_memory);
  for (const std::string& path : {path_, in_memory}) {
    for (const Bytes ends : {Bytes(4096), Bytes(1)}) {
      const auto device = open_at(path, OpenMode::kClaim, ends);
      const int failed = device->write_zeros(Bytes(16384), Bytes(8192));
      if (failed == EOPNOTSUPP) continue;  // a file system without holes
      ASSERT_EQ(failed, 0) << path;
      EXPECT_EQ(device->size(), Bytes(65536));
      const Buffer all(65536);
      read_fully(*device, *device->make_queue(1), Bytes(0), all.span());
      std::vector<std::byte> expected = pattern(65536);
      std::fill_n(expected.begin() + 16384, 8192, std::byte{0});
      EXPECT_TRUE(std::ranges::equal(all.span(), expected)) << path;
    }
  }
  fs::remove(in_memory);
  EXPECT_EQ(open_at(path_, OpenMode::kReadOnly, kAnyBlock)->write_zeros(Bytes(0), Bytes(4096)),
            EBADF);
}

TEST_F(ImageFile, IsDirectExactlyWhereItsEndsAllowIt) {
  const auto direct = open_at(path_, OpenMode::kReadOnly, kAnyBlock);
  if (!direct->is_direct()) GTEST_SKIP() << "no direct I/O in " << scratch_.path();
  const uint64_t block = direct->logical_block_size().value();
  EXPECT_GE(block, 512u);
  EXPECT_TRUE(open_at(path_, OpenMode::kReadOnly, Bytes(3 * block))->is_direct());
  for (const uint64_t ends : {block / 2, block + 1, uint64_t{1}}) {
    const auto buffered = open_at(path_, OpenMode::kReadOnly, Bytes(ends));
    EXPECT_FALSE(buffered->is_direct()) << ends;
    EXPECT_EQ(buffered->logical_block_size(), Bytes(1));
  }
}

TEST_F(ImageFile, OfAnOddSizeIsReportedAndReadToItsLastByte) {
  const std::string odd = scratch_.make_file("odd", 1000);
  const auto device = open_at(odd, OpenMode::kReadOnly, Bytes(1));
  EXPECT_EQ(device->size(), Bytes(1000));
  const auto queue = device->make_queue(1);
  std::vector<std::byte> memory(1000);
  read_fully(*device, *queue, Bytes(0), memory);
  EXPECT_EQ(memory, pattern(1000));
}

TEST_F(ImageFile, EndsInAFailureThatSaysWhere) {
  for (const Bytes ends : {Bytes(4096), Bytes(1)}) {
    const auto device = open_at(path_, OpenMode::kReadOnly, ends);
    const auto queue = device->make_queue(1);
    const Buffer buffer(8192);
    IoRequest request{Direction::kRead, Bytes(65536 - 4096), buffer.span()};
    const auto failure = transfer(*device, *queue, {&request, 1});
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->error_number, ENODATA);
    EXPECT_EQ(failure->offset, Bytes(65536));
  }
}

TEST_F(ImageFile, CanBeResized) {
  const auto device = open_at(path_, OpenMode::kClaim);
  device->resize(Bytes(131072));
  EXPECT_EQ(device->size(), Bytes(131072));
  EXPECT_EQ(fs::file_size(path_), 131072u);
  device->resize(Bytes(131072));
  EXPECT_EQ(fs::file_size(path_), 131072u);
  const auto queue = device->make_queue(1);
  const Buffer buffer(4096);
  write_fully(*device, *queue, Bytes(131072 - 4096), buffer.span());
  device->resize(Bytes(512));
  EXPECT_EQ(device->size(), Bytes(512));
  EXPECT_EQ(fs::file_size(path_), 512u);
}

TEST_F(ImageFile, ClaimedTwiceIsLocked) {
  const auto claim = open_at(path_, OpenMode::kClaim);
  EXPECT_EQ(opening(path_, OpenMode::kClaim), MessageId::kLocked);
  EXPECT_EQ(opening(path_, OpenMode::kProbe), MessageId::kLocked);
  EXPECT_EQ(opening(path_, OpenMode::kReadOnly), kNothingThrown);
}

TEST_F(ImageFile, IsFreeAgainWhenItsClaimIsGone) {
  open_at(path_, OpenMode::kClaim);
  open_at(path_, OpenMode::kProbe);
  EXPECT_EQ(opening(path_, OpenMode::kClaim), kNothingThrown);
}

TEST_F(ImageFile, IsClaimedWhenAShortLockOfSomebodyElseIsOver) {
  auto other = FileDescriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::flock(other.get(), LOCK_SH), 0);
  std::thread prober([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    other = FileDescriptor();
  });
  EXPECT_EQ(opening(path_, OpenMode::kClaim), kNothingThrown);
  prober.join();
}

// QEMU takes shared locks on single bytes around the hundredth.
TEST_F(ImageFile, ThatAVirtualMachineHasLockedIsInUse) {
  for (const short type : {short{F_RDLCK}, short{F_WRLCK}}) {
    const FileDescriptor machine(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    struct flock range {};
    range.l_type = type;
    range.l_whence = SEEK_SET;
    range.l_start = 203;
    range.l_len = 1;
    ASSERT_EQ(::fcntl(machine.get(), F_OFD_SETLK, &range), 0);
    EXPECT_EQ(opening(path_, OpenMode::kClaim), MessageId::kInUse);
    EXPECT_EQ(opening(path_, OpenMode::kProbe), MessageId::kInUse);
    EXPECT_EQ(opening(path_, OpenMode::kReadOnly), kNothingThrown);
  }
  EXPECT_EQ(opening(path_, OpenMode::kClaim), kNothingThrown);
}

TEST_F(ImageFile, ThatWasReplacedAfterItWasInspectedIsNotOpened) {
  const DeviceFacts facts = inspect(path_);
  const std::string other = scratch_.make_file("other", 65536);
  fs::rename(path_, scratch_ / "aside");
  fs::rename(other, path_);
  const auto open = [&] { FileDevice::open(facts, OpenMode::kReadOnly, kAnyBlock); };
  EXPECT_EQ(thrown_by(open), MessageId::kPathChanged);
  fs::remove(path_);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);  // would block if it were opened
  EXPECT_EQ(thrown_by(open), MessageId::kPathChanged);
  fs::remove(path_);
  EXPECT_EQ(thrown_by(open), MessageId::kNotFound);
}

TEST_F(ImageFile, WithTheInodeOfADeletedOneIsNotTakenForIt) {
  DeviceFacts facts = inspect(path_);
  if (facts.identity.ends_with("born=0")) GTEST_SKIP() << "no birth times here";
  facts.identity += "1";  // as if born at another moment
  EXPECT_EQ(thrown_by([&] { FileDevice::open(facts, OpenMode::kReadOnly, kAnyBlock); }),
            MessageId::kPathChanged);
}

TEST_F(ImageFile, IsWhatALinkToItOpens) {
  fs::create_symlink(path_, scratch_ / "link");
  const auto device = open_at(scratch_ / "link", OpenMode::kClaim);
  EXPECT_EQ(device->name(), scratch_ / "link");
  EXPECT_EQ(device->size(), Bytes(65536));
}

TEST_F(ImageFile, ThatIsNoneIsRefusedByItsKind) {
  EXPECT_EQ(opening(scratch_ / "none", OpenMode::kReadOnly), MessageId::kNotFound);
  EXPECT_EQ(opening(scratch_.path(), OpenMode::kReadOnly), MessageId::kNotADevice);
  EXPECT_EQ(opening("/dev/null", OpenMode::kClaim), MessageId::kNotADevice);
}

TEST_F(ImageFile, WithoutPermissionIsRefusedAsThat) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  fs::permissions(scratch_.path(), fs::perms(0755));
  fs::permissions(path_, fs::perms(0444));
  ASSERT_EQ(::seteuid(65534), 0);
  const MessageId claim = opening(path_, OpenMode::kClaim);
  const MessageId probe = opening(path_, OpenMode::kProbe);
  const MessageId read = opening(path_, OpenMode::kReadOnly);
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_EQ(claim, MessageId::kPermission);
  EXPECT_EQ(probe, MessageId::kPermission);
  EXPECT_EQ(read, kNothingThrown);
}

TEST_F(ImageFile, StaysOpenAsLongAsAQueueNeedsIt) {
  auto device = open_at(path_, OpenMode::kReadOnly);
  const auto queue = device->make_queue(2);
  device.reset();
  const Buffer buffer(4096);
  IoRequest request{Direction::kRead, Bytes(4096), buffer.span()};
  queue->submit({&request, 1});
  queue->wait();
  EXPECT_EQ(request.result, 4096);
  EXPECT_EQ(buffer.span()[0], std::byte{8});
}

// fdatasync() may leave out the time of the last modification, which shows later writes by others.
TEST_F(ImageFile, IsFlushedWithItsTime) {
  const auto device = open_at(path_, OpenMode::kClaim);
  const int before = fsync_calls;
  EXPECT_EQ(device->flush(), 0);
  EXPECT_EQ(fsync_calls, before + 1);
}

TEST_F(ImageFile, LeavesTheCacheWhenTold) {
  const auto device = open_at(path_, OpenMode::kClaim);
  const FileDescriptor reader(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  char byte = 0;
  ASSERT_EQ(::pread(reader.get(), &byte, 1, 0), 1);
  ASSERT_EQ(device->flush(), 0);
  void* const mapping = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, reader.get(), 0);
  ASSERT_NE(mapping, MAP_FAILED);
  const auto is_cached = [&] {
    unsigned char resident = 0;
    EXPECT_EQ(::mincore(mapping, 4096, &resident), 0);
    return (resident & 1) != 0;
  };
  EXPECT_TRUE(is_cached());
  device->drop_cache();
  // tmpfs keeps its pages, but takes O_DIRECT since Linux 6.6.
  EXPECT_EQ(is_cached(), is_in_memory(path_));
  ::munmap(mapping, 4096);
}

TEST(ImageFileInMemory, WorksWithOrWithoutDirectIo) {
  struct stat status;
  if (::stat("/dev/shm", &status) != 0) GTEST_SKIP() << "no /dev/shm";
  const ScratchDirectory scratch("/dev/shm");
  const auto device = open_at(scratch.make_file("image", 65536), OpenMode::kClaim);
  EXPECT_EQ(device->logical_block_size() > Bytes(1), device->is_direct());
  const auto queue = device->make_queue(2);
  const Buffer buffer(4096);
  read_fully(*device, *queue, Bytes(8192), buffer.span());
  EXPECT_EQ(buffer.span()[0], std::byte{16});
}

}  // namespace
}  // namespace extmerge
