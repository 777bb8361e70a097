// SPDX-License-Identifier: GPL-3.0-or-later
//
// Opening is where the wrong disk must be caught. The path is opened twice: once
// with O_PATH, which does nothing to a device, to see whether it still leads to
// what was inspected; then that very node, through /proc/self/fd, for use.
//
// What keeps others away, and what does not (tried on Linux 6.1 and 6.18):
// - O_EXCL on a block device stops every other O_EXCL: mount, dm, md, mkfs, swapon
//   and another extmerge. It does not stop, or notice, a plain open for writing.
// - After SIGKILL both O_EXCL and flock() last until the writes in flight have
//   landed, so whoever claims next does not race with a dying predecessor.
// - flock() belongs to the node that was opened, not to the device: two nodes
//   with the same number have two locks. It is for the ones that use the same
//   name, such as udev, which probes under a shared lock.
// - A loop device claims nothing of what it stands on. So the lock is taken on that
//   as well, all the way down: a merge into an image and one into a loop over it
//   keep each other away, also where the loop came after the first one looked.
// - QEMU locks the images it uses with fcntl(), which flock() does not notice.

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

namespace extmerge {

namespace {

// udev opens and locks each device that was just closed or resumed; its probes are over well
// before.
constexpr auto kPatience = std::chrono::seconds(2);
constexpr auto kPause = std::chrono::milliseconds(50);
constexpr size_t kLargestBlock = 4096;  // of all that direct I/O is tried with

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

// A node that is the one the facts describe, not opened for anything yet.
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

// A claim may be one that is over in a moment: of a program that looks what a new device is.
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
  // The answer of a file system without direct I/O.
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
                  "find out who it is (lslocks, fuser -v " + path + ") and wait for it");
    }
    std::this_thread::sleep_for(kPause);
  }
}

// Any fcntl() lock counts: one for reading says that somebody relies on the contents.
void check_not_locked(const FileDescriptor& file, const std::string& path) {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;  // from 0 to the end, wherever that is
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
              "find out who it is (lslocks, fuser -v " + path + ") and stop it");
}

// Keeps out all others who ask in the same way.
void claim(const FileDescriptor& file, const std::string& path, int operation) {
  check_not_locked(file, path);
  lock(file, path, operation);
}

// A lock alone would need no more than reading. But NFS makes an exclusive flock() a lock on the
// server, which wants a file that is open for writing, and refuses others with EBADF.
// (A device is locked by its node, here; and udev probes one that was open for writing.)
FileDescriptor open_to_lock(const std::string& path, bool is_device) {
  constexpr int kFlags = O_NONBLOCK | O_CLOEXEC;
  FileDescriptor file(::open(path.c_str(), (is_device ? O_RDONLY : O_RDWR) | kFlags));
  // What this process may not write can still be locked where the file system is a local one.
  const bool for_reading_only =
      !file && (errno == EACCES || errno == EPERM || errno == EROFS || errno == ETXTBSY);
  if (for_reading_only) file = FileDescriptor(::open(path.c_str(), O_RDONLY | kFlags));
  return file;
}

// Claims what the loop device `device_number`, or the one it is a partition of,
// stands on. Partitions are merged into side by side, so what is under them is
// locked shared: it is those who want the whole that are kept away.
void claim_backing(uint64_t device_number, int operation, std::vector<FileDescriptor>& locks) {
  const SystemRoot root;
  if (const auto disk = SysfsBlock(root, device_number).disk()) {
    return claim_backing(*disk, LOCK_SH, locks);
  }
  const auto backing = loop_backing(root, device_number);
  if (!backing) return;
  FileDescriptor file = open_to_lock(backing->path, backing->device_number != 0);
  // Deleted, or of another mount namespace: then it has no name to claim it by.
  if (!file && errno == ENOENT) return;
  if (!file) throw system_error("open", backing->path, errno, MessageId::kNotFound);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) {
    throw system_error("look at", backing->path, errno, MessageId::kNotFound);
  }
  const bool same = backing->device_number != 0
                        ? S_ISBLK(status.st_mode) && status.st_rdev == backing->device_number
                        : status.st_ino == backing->inode && status.st_dev == backing->file_system;
  if (!same) return;  // deleted, too, and the name given to another
  claim(file, backing->path, operation);
  locks.push_back(std::move(file));
  if (backing->device_number != 0) claim_backing(backing->device_number, operation, locks);
}

// --- what direct I/O on a file asks for --------------------------------------

// A read of `length` bytes at the second multiple of it; with nothing to read
// there it proves nothing and counts as refused.
bool takes_direct(const FileDescriptor& file, size_t length) {
  const Buffer buffer(kLargestBlock);
  return ::pread(file.get(), buffer.data(), length, static_cast<off_t>(length)) ==
         static_cast<ssize_t>(length);
}

// The multiple that offsets, lengths and memory must be of; 0 if the file cannot
// be relied on to take direct I/O at all.
uint64_t direct_alignment(const FileDescriptor& file) {
#ifdef STATX_DIOALIGN
  // Linux 6.1 and later, and not every file system.
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

// Decides how a file is read and written. Returns its block size, 1 for buffered.
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

// What is open: the device or image itself, locked if it is claimed, and the locks
// on what a loop device stands on.
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

  // Linux reports a failed write-back once and then forgets it, so this is
  // neither repeated here nor to be called again.
  // fdatasync() need not make the time of a file's last modification durable, which tells later
  // whether somebody else has written to it.
  int flush() override {
    return (is_block_ ? ::fdatasync(file_->get()) : ::fsync(file_->get())) == 0 ? 0 : errno;
  }

  void resize(Bytes size) override {
    if (is_block_) {
      throw Error(MessageId::kCannotExtend, "cannot resize " + name_ + ": it is a device",
                  "use the tool that made it, for example lvextend");
    }
    // Also synced if the size is right already: it may be so in memory only.
    if (::ftruncate(file_->get(), static_cast<off_t>(size.value())) != 0 ||
        ::fsync(file_->get()) != 0) {
      throw system_error("resize", name_, errno, MessageId::kWriteFailed);
    }
    size_ = size.value();
  }

  // Direct I/O through one node leaves alone what another node over the same
  // sectors has cached; for a device BLKFLSBUF drops that of this node.
  void drop_cache() override {
    if (is_block_) {
      ::ioctl(file_->get(), BLKFLSBUF, 0);
    } else {
      ::posix_fadvise(file_->get(), 0, 0, POSIX_FADV_DONTNEED);
    }
  }

 private:
  std::shared_ptr<const FileDescriptor> file_;  // the queues keep it open, and the locks
  std::string name_;
  bool is_block_;
  // io_submit() would carry the request out itself: a buffered file, or one in memory.
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
  // Asked now that the number cannot be given to another device any more.
  if (identity_of_device(SystemRoot{}, facts.device_number, Bytes(size)) != facts.identity) {
    throw path_changed(facts.path);
  }
  // open() succeeded all the same, and writes would fail with EPERM.
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
