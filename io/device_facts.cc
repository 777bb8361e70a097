// SPDX-License-Identifier: GPL-3.0-or-later
//
// One statx() tells the path's kind. A block device is then opened for three ioctls: for reading,
// without O_EXCL, and its contents are not read. A file is not opened. The rest is a walk down:
// slaves, a partition's disk, a loop's file, that file's file system, and so on. Then follows one
// step up: holders, loops, mounts, swap.
//
// Exclusive opens show most users, but not users that bypass the named node. A loop device does not
// claim its backing device, and a thin's origin may be a lower layer of the origin's stack. So the
// step up starts from every device that holds the named device's sectors. Devices under a file
// system in between are left out, because they have users of other files.

#include "io/device_facts.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>

#include "io/device_identity.h"
#include "io/error.h"
#include "io/file_descriptor.h"
#include "io/loop_backing.h"
#include "io/mount_table.h"

namespace extmerge {

bool contains(const std::vector<uint64_t>& numbers, uint64_t number) {
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

namespace {

// --- what lies under it ------------------------------------------------------

// Uses the backing file's name if that still leads to it.
std::vector<uint64_t> devices_under_backing(const SystemRoot& root, const LoopBacking& backing) {
  struct statx status {};
  if (::statx(AT_FDCWD, backing.path.c_str(), 0, STATX_INO | STATX_MNT_ID, &status) != 0 ||
      status.stx_ino != backing.inode) {
    status = {};
  }
  status.stx_dev_major = gnu_dev_major(backing.file_system);
  status.stx_dev_minor = gnu_dev_minor(backing.file_system);
  return devices_under_file(root, backing.path, status);
}

void add_device(const SystemRoot& root, uint64_t device_number, DeviceFacts& facts);

void add_loop_backing(const SystemRoot& root, uint64_t loop, const LoopBacking& backing,
                      DeviceFacts& facts) {
  if (backing.device_number != 0) return add_device(root, backing.device_number, facts);
  if (backing.inode == 0) return;
  facts.underlying_files.push_back({backing.file_system, backing.inode, loop});
  for (const uint64_t number : devices_under_backing(root, backing)) {
    add_device(root, number, facts);
  }
}

// The dm and md slaves of a device, or a partition's disk.
std::vector<uint64_t> directly_under(const SystemRoot& root, uint64_t device_number) {
  const SysfsBlock block(root, device_number);
  std::vector<uint64_t> under = block.slaves();
  if (const auto disk = block.disk()) under.push_back(*disk);
  return under;
}

// Adds the device and everything below it.
void add_device(const SystemRoot& root, uint64_t device_number, DeviceFacts& facts) {
  if (contains(facts.underlying, device_number)) return;
  facts.underlying.push_back(device_number);
  for (const uint64_t under : directly_under(root, device_number)) add_device(root, under, facts);
  if (const auto backing = loop_backing(root, device_number)) {
    add_loop_backing(root, device_number, *backing, facts);
  }
}

// --- who uses it ---------------------------------------------------------------

Holder holder_of(const SystemRoot& root, uint64_t device_number) {
  const SysfsBlock block(root, device_number);
  const std::string dm_name = block.text("dm/name");
  return {block.kernel_name() + (dm_name.empty() ? "" : " (" + dm_name + ")"), device_number};
}

// The devices and files that hold a device's or image's bytes, down to the first file system.
struct Stack {
  std::vector<uint64_t> devices;  // itself and all below; none for an image
  std::vector<DeviceFacts::File> files;
  std::vector<uint64_t> looped;  // those of `devices` that are under a loop device
};

void add_to_stack(const SystemRoot& root, uint64_t device_number, Stack& stack) {
  if (contains(stack.devices, device_number)) return;
  stack.devices.push_back(device_number);
  for (const uint64_t under : directly_under(root, device_number)) {
    add_to_stack(root, under, stack);
  }
  const auto backing = loop_backing(root, device_number);
  if (!backing) return;
  if (backing->device_number != 0) {
    stack.looped.push_back(backing->device_number);
    add_to_stack(root, backing->device_number, stack);
  } else if (backing->inode != 0) {
    stack.files.push_back({backing->file_system, backing->inode, device_number});
  }
}

Stack stack_of(const SystemRoot& root, const DeviceFacts& facts) {
  Stack stack;
  if (facts.is_block) add_to_stack(root, facts.device_number, stack);
  if (facts.is_regular) stack.files.push_back({facts.file_system, facts.inode});
  return stack;
}

bool contains_file(const std::vector<DeviceFacts::File>& files, const DeviceFacts::File& file) {
  return std::find(files.begin(), files.end(), file) != files.end();
}

// Loop devices that reach the same bytes by another path. A loop device claims neither its backing
// file nor its backing device, and is not among the `holders` in sysfs.
std::vector<uint64_t> loops_over(const SystemRoot& root, const Stack& stack,
                                 const std::vector<uint64_t>& partitions) {
  std::vector<uint64_t> loops;
  for (const LoopDevice& loop : loop_devices(root)) {
    const LoopBacking& backing = loop.backing;
    if (contains(stack.devices, loop.device_number)) continue;
    const bool over_device =
        backing.device_number != 0 && (contains(stack.devices, backing.device_number) ||
                                       contains(partitions, backing.device_number));
    const bool over_file = backing.device_number == 0 && backing.inode != 0 &&
                           contains_file(stack.files, {backing.file_system, backing.inode});
    if (over_device || over_file) loops.push_back(loop.device_number);
  }
  return loops;
}

// Adds mounts and swap on `devices`, and swap on `files`.
void add_uses(const SystemRoot& root, const std::vector<uint64_t>& devices,
              const std::vector<DeviceFacts::File>& files, DeviceFacts& facts) {
  for (const Mount& mount : read_mounts(root)) {
    const std::vector<uint64_t> under = devices_under(root, mount);
    const bool ours = std::any_of(under.begin(), under.end(),
                                  [&](uint64_t number) { return contains(devices, number); });
    if (ours) facts.mount_points.push_back(mount.mount_point);
  }
  for (const std::string& path : swap_paths(root)) {
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) continue;
    facts.is_swap |= S_ISBLK(status.st_mode) ? contains(devices, status.st_rdev)
                                             : contains_file(files, {status.st_dev, status.st_ino});
  }
}

// `devices` with their partitions.
std::vector<uint64_t> with_partitions(const SystemRoot& root, std::vector<uint64_t> devices) {
  for (size_t i = 0, count = devices.size(); i < count; ++i) {
    const std::vector<uint64_t> partitions = SysfsBlock(root, devices[i]).partitions();
    devices.insert(devices.end(), partitions.begin(), partitions.end());
  }
  return devices;
}

void add_neighbours(const SystemRoot& root, const Stack& stack, DeviceFacts& facts) {
  for (const uint64_t device : stack.devices) {
    if (device == facts.device_number) continue;
    for (const uint64_t number : SysfsBlock(root, device).holders()) {
      const auto is_this = [&](const Holder& other) { return other.device_number == number; };
      if (contains(stack.devices, number) || std::ranges::any_of(facts.holders, is_this) ||
          std::ranges::any_of(facts.neighbours, is_this)) {
        continue;
      }
      facts.neighbours.push_back(holder_of(root, number));
    }
  }
}

void describe_users(const SystemRoot& root, DeviceFacts& facts) {
  const Stack stack = stack_of(root, facts);
  std::vector<uint64_t> devices;
  if (facts.is_block) devices = with_partitions(root, {facts.device_number});
  for (const uint64_t device : devices) {
    for (const uint64_t number : SysfsBlock(root, device).holders()) {
      facts.holders.push_back(holder_of(root, number));
    }
  }
  std::vector<uint64_t> loops = loops_over(root, stack, devices);
  for (const uint64_t loop : loops) facts.holders.push_back(holder_of(root, loop));
  add_neighbours(root, stack, facts);
  loops = with_partitions(root, loops);
  devices.insert(devices.end(), loops.begin(), loops.end());
  // A device under a loop device can still be mounted; other users prevent mounts.
  devices.insert(devices.end(), stack.looped.begin(), stack.looped.end());
  add_uses(root, devices, stack.files, facts);
}

// --- what it is ----------------------------------------------------------------

uint64_t modified(const struct statx& status) {
  return static_cast<uint64_t>(status.stx_mtime.tv_sec) * 1'000'000'000 + status.stx_mtime.tv_nsec;
}

// The last modification of the file behind a loop device over a whole file. 0 if there is no such
// file, or if its name leads to another file now.
uint64_t modified_behind(const SystemRoot& root, uint64_t device_number) {
  const auto backing = loop_backing(root, device_number);
  if (!backing || !backing->is_whole() || backing->device_number != 0) return 0;
  struct statx status {};
  if (::statx(AT_FDCWD, backing->path.c_str(), 0, STATX_INO | STATX_MTIME, &status) != 0) return 0;
  const uint64_t file_system = gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor);
  const bool is_it = status.stx_ino == backing->inode && file_system == backing->file_system;
  return is_it ? modified(status) : 0;
}

// Nothing if the path is missing.
std::optional<struct statx> status_of(int folder, const std::string& path, int flags) {
  struct statx status {};
  if (::statx(folder, path.c_str(), flags, STATX_BASIC_STATS | kFileIdentityMask | STATX_MNT_ID,
              &status) == 0)
    return status;
  if (errno == EACCES) throw system_error("look at", path, errno, MessageId::kPermission);
  return std::nullopt;
}

void describe_kind(const struct statx& status, DeviceFacts& facts) {
  facts.exists = true;
  facts.is_block = S_ISBLK(status.stx_mode);
  facts.is_regular = S_ISREG(status.stx_mode);
  facts.file_system = gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor);
  facts.inode = status.stx_ino;
  if (facts.is_block) {
    facts.device_number = gnu_dev_makedev(status.stx_rdev_major, status.stx_rdev_minor);
  }
}

// Adds the file and everything below it.
void add_file(const SystemRoot& root, const struct statx& status, DeviceFacts& facts) {
  facts.underlying_files.push_back({facts.file_system, facts.inode});
  for (const uint64_t number : devices_under_file(root, facts.path, status)) {
    add_device(root, number, facts);
  }
}

DeviceFacts facts_below(const std::string& path, const std::optional<struct statx>& status) {
  DeviceFacts facts;
  facts.path = path;
  if (!status) return facts;
  describe_kind(*status, facts);
  if (facts.is_block) add_device(SystemRoot{}, facts.device_number, facts);
  if (facts.is_regular) add_file(SystemRoot{}, *status, facts);
  return facts;
}

void describe_file(const SystemRoot& root, const struct statx& status, DeviceFacts& facts) {
  facts.size = Bytes(status.stx_size);
  facts.modified = modified(status);
  facts.identity = identity_of_file(root, facts.path, status);
  add_file(root, status, facts);
  describe_users(root, facts);

  struct statvfs file_system;
  facts.read_only =
      ::statvfs(facts.path.c_str(), &file_system) == 0 && (file_system.f_flag & ST_RDONLY) != 0;
  // Linux returns EPERM for an immutable file, even to root. EACCES only means that this user may
  // not write, which is not a fact about the file.
  if (::faccessat(AT_FDCWD, facts.path.c_str(), W_OK, AT_EACCESS) != 0) {
    facts.read_only |= errno == EROFS || errno == EPERM;
  }
}

void ask_device(DeviceFacts& facts) {
  const FileDescriptor device(::open(facts.path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!device) {
    if (errno == EACCES || errno == EPERM) {
      throw system_error("open", facts.path, errno, MessageId::kPermission);
    }
    return;  // a node without a device, a drive without a medium: the size stays 0
  }
  uint64_t size = 0;
  int block_size = 0;
  int read_only = 0;
  if (::ioctl(device.get(), BLKGETSIZE64, &size) == 0) facts.size = Bytes(size);
  if (::ioctl(device.get(), BLKSSZGET, &block_size) == 0 && block_size > 0) {
    facts.logical_block_size = Bytes(static_cast<uint64_t>(block_size));
  }
  // Ask BLKROGET: on Linux a read-only device can be opened for writing, and only its writes fail
  // with EPERM.
  if (::ioctl(device.get(), BLKROGET, &read_only) == 0) facts.read_only = read_only != 0;
}

}  // namespace

void describe_device(const SystemRoot& root, DeviceFacts& facts) {
  facts.identity = identity_of_device(root, facts.device_number, facts.size);
  facts.modified = modified_behind(root, facts.device_number);
  add_device(root, facts.device_number, facts);
  describe_users(root, facts);
}

DeviceFacts inspect(const std::string& path, const SystemRoot& root) {
  DeviceFacts facts;
  facts.path = path;
  const auto status = status_of(AT_FDCWD, path, 0);
  if (!status) return facts;
  describe_kind(*status, facts);
  if (facts.is_block) {
    ask_device(facts);
    if (facts.size > Bytes(0) && !SysfsBlock(root, facts.device_number).is_known()) {
      facts.size = Bytes(0);
      ask_device(facts);  // the device may be gone by now
      if (facts.size > Bytes(0)) throw unknown_device(root, facts.device_number, path);
    }
    describe_device(root, facts);
  } else if (facts.is_regular) {
    describe_file(root, *status, facts);
  }
  return facts;
}

DeviceFacts inspect(const std::string& path) { return inspect(path, SystemRoot{}); }

DeviceFacts inspect_device(uint64_t device_number, const std::string& shown_as) {
  const SystemRoot root;
  DeviceFacts facts;
  for (const std::string& candidate :
       {shown_as, root.dev + "/" + SysfsBlock(root, device_number).kernel_name()}) {
    std::error_code missing;
    const std::string node = std::filesystem::canonical(candidate, missing).string();
    if (!missing) facts = inspect(node, root);
    if (facts.device_number == device_number) {
      facts.node = node;
      break;
    }
    facts = {};
  }
  facts.path = shown_as;
  return facts;
}

DeviceFacts look_below(const std::string& path) {
  return facts_below(path, status_of(AT_FDCWD, path, 0));
}

DeviceFacts look_below(int open_file) {
  const auto status = status_of(open_file, "", AT_EMPTY_PATH);
  try {
    return facts_below("", status);
  } catch (const Error& error) {
    // The caller opened the file in another mount namespace, as container runtimes do with standard
    // output. Its mount is not visible here, but the file itself is known.
    if (error.id() != MessageId::kCannotLook) throw;
    DeviceFacts facts;
    describe_kind(*status, facts);
    facts.underlying_files.push_back({facts.file_system, facts.inode});
    return facts;
  }
}

std::vector<DeviceFacts::File> files_under_loops() {
  std::vector<DeviceFacts::File> files;
  for (const LoopDevice& loop : loop_devices(SystemRoot{})) {
    const LoopBacking& backing = loop.backing;
    if (backing.device_number != 0 || backing.inode == 0) continue;
    files.push_back({backing.file_system, backing.inode, loop.device_number});
  }
  return files;
}

bool overlaps(const DeviceFacts& a, const DeviceFacts& b) {
  if (a.is_block && contains(b.underlying, a.device_number)) return true;
  if (b.is_block && contains(a.underlying, b.device_number)) return true;
  // Both may lie on the same file. Through the same loop device, they lie side by side on it.
  // Otherwise they reach the same bytes in two ways.
  for (const DeviceFacts::File& file : a.underlying_files) {
    for (const DeviceFacts::File& other : b.underlying_files) {
      const bool same_loop = file.loop != 0 && file.loop == other.loop;
      if (file == other && !same_loop) return true;
    }
  }
  return false;
}

std::vector<uint64_t> devices_under_file_system(const std::string& path, const SystemRoot& root) {
  std::filesystem::path existing = path;
  struct statx status {};
  while (::statx(AT_FDCWD, existing.empty() ? "." : existing.c_str(), 0, STATX_INO | STATX_MNT_ID,
                 &status) != 0) {
    if (errno == EACCES) throw system_error("look at", path, errno, MessageId::kPermission);
    if (existing.empty() || existing == existing.parent_path()) return {};
    existing = existing.parent_path();
  }
  DeviceFacts below;
  const std::string found = existing.empty() ? "." : existing.string();
  for (const uint64_t number : devices_under_file(root, found, status)) {
    add_device(root, number, below);
  }
  return below.underlying;
}

std::vector<uint64_t> devices_under_file_system(const std::string& path) {
  return devices_under_file_system(path, SystemRoot{});
}

}  // namespace extmerge
