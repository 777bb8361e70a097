// SPDX-License-Identifier: GPL-3.0-or-later
//
// open() must detect the wrong disk. The path is opened twice. O_PATH, which has no effect on a
// device, shows whether the path still leads to the inspected node. Then that same node is opened
// for use through /proc/self/fd.
//
// Claims and locks, and what they prevent (tried on Linux 6.1 and 6.18):
// - O_EXCL on a block device stops every other O_EXCL: mount, dm, md, mkfs, swapon
//   and another extmerge. It does not stop, or notice, a plain open for writing.
// - After SIGKILL both O_EXCL and flock() last until the writes in flight have landed. So the next
//   claim does not race with a dying process.
// - flock() belongs to the opened node, not to the device: two nodes with the same number have two
//   locks. It excludes users of the same name, such as udev, which probes under a shared lock.
// - A loop device does not claim its backing file or device. So extmerge locks that as well, all
//   the way down. A merge into an image and one into a loop device over it exclude each other, even
//   if the loop device is attached later.
// - QEMU locks its images with fcntl(), which flock() does not notice.

#include "io/file_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "io/aio_queue.h"
#include "io/buffer.h"
#include "io/device_identity.h"
#include "io/error.h"
#include "io/loop_backing.h"
#include "io/mount_table.h"
#include "io/sync_queue.h"
#include "io/thread_queue.h"

namespace extmerge {

namespace {

// udev opens and locks each device after a close or resume. Its probes take much less time.
constexpr auto kPatience = std::chrono::seconds(2);
constexpr auto kPause = std::chrono::milliseconds(50);
constexpr size_t kLargestBlock = 4096;  // of the block sizes tried for direct I/O

bool wants_writing(OpenMode mode) { return mode != OpenMode::kReadOnly; }
bool is_exclusive(OpenMode mode) { return mode == OpenMode::kClaim || mode == OpenMode::kProbe; }

Error path_changed(const std::string& path) {
  return Error(MessageId::kPathChanged, path + " is no longer the device or file that was checked",
               "find out what replaced or renamed it, then run the same command again");
}

struct statx status_of(const FileDescriptor& file, const std::string& path) {
  struct statx status {};
  if (::statx(file.get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS | kFileIdentityMask, &status) != 0) {
    throw system_error("look at", path, errno, MessageId::kNotFound);
  }
  return status;
}

// Finds the node that the facts describe, without opening it for use.
FileDescriptor find(const DeviceFacts& facts) {
  const std::string& path = facts.node.empty() ? facts.path : facts.node;
  FileDescriptor node(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!node) throw system_error("open", facts.path, errno, MessageId::kNotFound);
  const struct statx status = status_of(node, facts.path);
  const bool same =
      facts.is_block
          ? S_ISBLK(status.stx_mode) &&
                facts.device_number == gnu_dev_makedev(status.stx_rdev_major, status.stx_rdev_minor)
          : S_ISREG(status.stx_mode) && facts.inode == status.stx_ino &&
                facts.file_system == gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor);
  if (!same) throw path_changed(facts.path);
  return node;
}

// Another claim may end soon: some programs probe new devices.
FileDescriptor open_patiently(const std::string& path, int flags) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    FileDescriptor file(::open(path.c_str(), flags));
    if (file || errno != EBUSY || std::chrono::steady_clock::now() >= deadline) return file;
    std::this_thread::sleep_for(kPause);
  }
}

FileDescriptor reopen(const FileDescriptor& node, const DeviceFacts& facts, OpenMode mode) {
  const std::string link = "/proc/self/fd/" + std::to_string(node.get());
  const bool asks_only = mode == OpenMode::kProbe && facts.is_block;
  int flags = O_CLOEXEC | O_DIRECT | (wants_writing(mode) && !asks_only ? O_RDWR : O_RDONLY);
  if (facts.is_block && is_exclusive(mode)) flags |= O_EXCL;
  if (asks_only && ::faccessat(AT_FDCWD, link.c_str(), W_OK, AT_EACCESS) != 0) {
    throw system_error("open", facts.path, errno, MessageId::kPermission);
  }
  FileDescriptor file = open_patiently(link, flags);
  // A file system without direct I/O returns EINVAL.
  if (!file && errno == EINVAL && facts.is_regular) {
    file = FileDescriptor(::open(link.c_str(), flags & ~O_DIRECT));
  }
  if (!file) throw system_error("open", facts.path, errno, MessageId::kNotFound);
  return file;
}

// `operation` is LOCK_EX or LOCK_SH.
void lock(const FileDescriptor& file, const std::string& path, int operation) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (::flock(file.get(), operation | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) throw system_error("lock", path, errno, MessageId::kLocked);
    if (std::chrono::steady_clock::now() >= deadline) {
      throw Error(MessageId::kLocked, "cannot lock " + path + ": another program holds the lock",
                  "find that program (lslocks, fuser -v " + path + ") and wait for it");
    }
    std::this_thread::sleep_for(kPause);
  }
}

// Any fcntl() lock counts: even the holder of a read lock relies on the contents.
void check_not_locked(const FileDescriptor& file, const std::string& path) {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;  // from 0 to the end
  if (::fcntl(file.get(), F_OFD_GETLK, &range) != 0) {
    if (errno == EINVAL) return;  // a kernel without such locks
    throw system_error("ask for locks on", path, errno, MessageId::kLocked);
  }
  if (range.l_type == F_UNLCK) return;
  const std::string who =
      range.l_pid > 0 ? " (process " + std::to_string(range.l_pid) + ")" : std::string();
  throw Error(MessageId::kInUse,
              "cannot claim " + path + ": it is locked by another program" + who +
                  ", perhaps a virtual machine that uses it",
              "find that program (lslocks, fuser -v " + path + ") and stop it");
}

// Excludes all other programs that claim in the same way.
void claim(const FileDescriptor& file, const std::string& path, int operation) {
  check_not_locked(file, path);
  lock(file, path, operation);
}

// Opens a file for locking, for writing if possible. NFS turns an exclusive flock() into a lock on
// the server. It returns EBADF unless the file is open for writing. A device is opened for reading
// only, because udev probes a device that was open for writing.
FileDescriptor open_to_lock(const std::string& path, bool is_device) {
  constexpr int kFlags = O_NONBLOCK | O_CLOEXEC;
  FileDescriptor file(::open(path.c_str(), (is_device ? O_RDONLY : O_RDWR) | kFlags));
  // On a local file system, a file that this process may not write can still be locked.
  const bool for_reading_only =
      !file && (errno == EACCES || errno == EPERM || errno == EROFS || errno == ETXTBSY);
  if (for_reading_only) file = FileDescriptor(::open(path.c_str(), O_RDONLY | kFlags));
  return file;
}

// Claims the backing file or device of the loop device `device_number`, or of the one that it is a
// partition of. Merges into several partitions may run at once. So a partition takes a shared lock,
// which excludes only a merge into the whole.
void claim_backing(uint64_t device_number, int operation, std::vector<FileDescriptor>& locks) {
  const SystemRoot root;
  if (const auto disk = SysfsBlock(root, device_number).disk()) {
    return claim_backing(*disk, LOCK_SH, locks);
  }
  const auto backing = loop_backing(root, device_number);
  if (!backing) return;
  FileDescriptor file = open_to_lock(backing->path, backing->device_number != 0);
  // The file is deleted, or in another mount namespace: it has no name to claim it by.
  if (!file && errno == ENOENT) return;
  if (!file) throw system_error("open", backing->path, errno, MessageId::kNotFound);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) {
    throw system_error("look at", backing->path, errno, MessageId::kNotFound);
  }
  const bool same = backing->device_number != 0
                        ? S_ISBLK(status.st_mode) && status.st_rdev == backing->device_number
                        : status.st_ino == backing->inode && status.st_dev == backing->file_system;
  if (!same) return;  // deleted, and the name belongs to another file
  claim(file, backing->path, operation);
  locks.push_back(std::move(file));
  if (backing->device_number != 0) claim_backing(backing->device_number, operation, locks);
}

// --- what direct I/O on a file asks for --------------------------------------

// Reads `length` bytes at the second multiple of it. A short read proves nothing and counts as
// refused.
bool takes_direct(const FileDescriptor& file, size_t length) {
  const Buffer buffer(kLargestBlock);
  return ::pread(file.get(), buffer.data(), length, static_cast<off_t>(length)) ==
         static_cast<ssize_t>(length);
}

// The alignment of offsets, lengths and memory for direct I/O. 0 if the file may not take direct
// I/O.
uint64_t direct_alignment(const FileDescriptor& file) {
#ifdef STATX_DIOALIGN
  // Only Linux 6.1 and later has this, and not every file system.
  struct statx status {};
  if (::statx(file.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
      (status.stx_mask & STATX_DIOALIGN) != 0) {
    if (status.stx_dio_offset_align == 0) return 0;
    return std::max(
        {kSectorSize, uint64_t{status.stx_dio_offset_align}, uint64_t{status.stx_dio_mem_align}});
  }
#endif
  if (takes_direct(file, kSectorSize)) return kSectorSize;
  return takes_direct(file, kLargestBlock) ? kLargestBlock : 0;
}

// Decides between direct and buffered I/O. Returns the file's block size, 1 for buffered.
Bytes settle_on_direct(const FileDescriptor& file, const std::string& path,
                       Bytes ends_multiple_of) {
  const int flags = ::fcntl(file.get(), F_GETFL);
  if (flags < 0) throw system_error("look at", path, errno, MessageId::kNotFound);
  if ((flags & O_DIRECT) == 0) return Bytes(1);
  const uint64_t alignment = direct_alignment(file);
  if (alignment != 0 && ends_multiple_of.value() % alignment == 0) return Bytes(alignment);
  if (::fcntl(file.get(), F_SETFL, flags & ~O_DIRECT) != 0) {
    throw system_error("open", path + " buffered", errno, MessageId::kNotFound);
  }
  return Bytes(1);
}

// --- the device -----------------------------------------------------------------

// The open device or image, locked if it is claimed, and the locks on everything under a loop
// device.
struct OpenFiles {
  FileDescriptor file;
  std::vector<FileDescriptor> locks;
};

class OpenDevice : public FileDevice {
 public:
  OpenDevice(OpenFiles files, const DeviceFacts& facts, Bytes size, Bytes logical_block_size)
      : name_(facts.path),
        is_block_(facts.is_block),
        size_(size.value()),
        logical_block_size_(logical_block_size) {
    const auto all = std::make_shared<const OpenFiles>(std::move(files));
    file_ = std::shared_ptr<const FileDescriptor>(all, &all->file);
    const std::string path = "/proc/self/fd/" + std::to_string(file_->get());
    is_synchronous_ = !is_block_ && (logical_block_size_ == Bytes(1) || is_in_memory(path));
  }

  const std::string& name() const override { return name_; }
  Bytes size() const override { return Bytes(size_); }
  Bytes logical_block_size() const override { return logical_block_size_; }
  bool is_direct() const override { return logical_block_size_ > Bytes(1); }

  std::unique_ptr<AsyncQueue> make_queue(unsigned depth) override {
    if (depth == 1 || is_synchronous_) return std::make_unique<SyncQueue>(file_);
    return std::make_unique<AioQueue>(file_, name_, depth);
  }
  std::unique_ptr<AsyncQueue> make_short_queue() override {
    if (is_synchronous_) return std::make_unique<SyncQueue>(file_);
    return std::make_unique<ThreadQueue>(file_);
  }

  // The kernel writes zeros itself where a device cannot. A file system without
  // FALLOC_FL_ZERO_RANGE may make a hole instead, which reads the same.
  int write_zeros(Bytes offset, Bytes length) override {
    if (is_block_) {
      uint64_t range[] = {offset.value(), length.value()};
      if (::ioctl(file_->get(), BLKZEROOUT, range) == 0) return 0;
      return errno == ENOTTY || errno == EINVAL ? EOPNOTSUPP : errno;
    }
    const auto at = static_cast<off_t>(offset.value());
    const auto size = static_cast<off_t>(length.value());
    for (const int how : {FALLOC_FL_ZERO_RANGE, FALLOC_FL_PUNCH_HOLE}) {
      if (::fallocate(file_->get(), how | FALLOC_FL_KEEP_SIZE, at, size) == 0) return 0;
      if (errno != EOPNOTSUPP) return errno;
    }
    return EOPNOTSUPP;
  }

  // Linux reports a failed write-back once and then forgets it: never call flush() again after a
  // failure. fdatasync() is not enough: the time of a file's last modification must be durable,
  // because it shows later writes by others.
  int flush() override {
    return (is_block_ ? ::fdatasync(file_->get()) : ::fsync(file_->get())) == 0 ? 0 : errno;
  }

  void resize(Bytes size) override {
    if (is_block_) {
      throw Error(MessageId::kCannotExtend, "cannot resize " + name_ + ": it is a device",
                  "use the tool that made it, for example lvextend");
    }
    // Sync even if the size is right already: it may be so in memory only.
    if (::ftruncate(file_->get(), static_cast<off_t>(size.value())) != 0 ||
        ::fsync(file_->get()) != 0) {
      throw system_error("resize", name_, errno, MessageId::kWriteFailed);
    }
    size_ = size.value();
  }

  // Direct I/O through one node does not update the cache of another node over the same sectors.
  // BLKFLSBUF drops the cache of this node.
  void drop_cache() override {
    if (is_block_) {
      ::ioctl(file_->get(), BLKFLSBUF, 0);
    } else {
      ::posix_fadvise(file_->get(), 0, 0, POSIX_FADV_DONTNEED);
    }
  }

 private:
  std::shared_ptr<const FileDescriptor> file_;  // the queues keep the file and the locks open
  std::string name_;
  bool is_block_;
  // io_submit() is synchronous: a buffered file, or one in memory.
  bool is_synchronous_;
  std::atomic<uint64_t> size_;
  Bytes logical_block_size_;
};

void check_kind(const DeviceFacts& facts) {
  if (!facts.exists) throw system_error("open", facts.path, ENOENT, MessageId::kNotFound);
  if (!facts.is_block && !facts.is_regular) {
    throw Error(MessageId::kNotADevice,
                "cannot use " + facts.path + ": it is neither a block device nor a file",
                "name a block device or an image file");
  }
}

std::unique_ptr<FileDevice> open_block_device(FileDescriptor file, const DeviceFacts& facts,
                                              OpenMode mode) {
  uint64_t size = 0;
  int block_size = 0;
  int read_only = 0;
  if (::ioctl(file.get(), BLKGETSIZE64, &size) != 0 ||
      ::ioctl(file.get(), BLKSSZGET, &block_size) != 0 ||
      ::ioctl(file.get(), BLKROGET, &read_only) != 0) {
    throw system_error("ask for the size of", facts.path, errno, MessageId::kNotADevice);
  }
  // Check now: while the device is open, its number cannot go to another device.
  if (identity_of_device(SystemRoot{}, facts.device_number, Bytes(size)) != facts.identity) {
    throw path_changed(facts.path);
  }
  // open() succeeds on a read-only device, but writes fail with EPERM.
  if (wants_writing(mode) && read_only != 0) {
    throw Error(MessageId::kReadOnly, "cannot write to " + facts.path + ": it is read-only",
                "make it writable first (blockdev --setrw; lvchange -prw for a volume)");
  }
  OpenFiles files{std::move(file), {}};
  if (wants_writing(mode)) claim_backing(facts.device_number, LOCK_EX, files.locks);
  return std::make_unique<OpenDevice>(std::move(files), facts, Bytes(size),
                                      Bytes(static_cast<uint64_t>(block_size)));
}

std::unique_ptr<FileDevice> open_image(FileDescriptor file, const DeviceFacts& facts,
                                       Bytes ends_multiple_of) {
  const struct statx status = status_of(file, facts.path);
  const std::string link = "/proc/self/fd/" + std::to_string(file.get());
  if (identity_of_file(SystemRoot{}, link, status) != facts.identity) {
    throw path_changed(facts.path);
  }
  const Bytes block_size = settle_on_direct(file, facts.path, ends_multiple_of);
  return std::make_unique<OpenDevice>(OpenFiles{std::move(file), {}}, facts, Bytes(status.stx_size),
                                      block_size);
}

}  // namespace

std::unique_ptr<FileDevice> FileDevice::open(const DeviceFacts& facts, OpenMode mode,
                                             Bytes ends_multiple_of) {
  check_kind(facts);
  FileDescriptor file = reopen(find(facts), facts, mode);
  if (wants_writing(mode)) claim(file, facts.path, LOCK_EX);
  return facts.is_block ? open_block_device(std::move(file), facts, mode)
                        : open_image(std::move(file), facts, ends_multiple_of);
}

FileDescriptor claim_read_only(const DeviceFacts& facts) {
  check_kind(facts);
  const FileDescriptor node = find(facts);
  FileDescriptor file =
      open_patiently("/proc/self/fd/" + std::to_string(node.get()), O_RDONLY | O_EXCL | O_CLOEXEC);
  if (!file) throw system_error("claim", facts.path, errno, MessageId::kInUse);
  claim(file, facts.path, LOCK_EX);
  return file;
}

std::unique_ptr<FileDevice> FileDevice::adopt(FileDescriptor file, const DeviceFacts& facts) {
  const struct statx status = status_of(file, facts.path);
  if (!S_ISBLK(status.stx_mode) ||
      facts.device_number != gnu_dev_makedev(status.stx_rdev_major, status.stx_rdev_minor)) {
    throw path_changed(facts.path);
  }
  claim(file, facts.path, LOCK_EX);
  return open_block_device(std::move(file), facts, OpenMode::kClaim);
}

}  // namespace extmerge
