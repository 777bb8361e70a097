// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/loop_backing.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "io/file_descriptor.h"

namespace extmerge {

namespace {

enum class Answer { kKnown, kDetached, kForbidden, kNoNode };

// loop_info64 has numbers in the kernel's 32-bit encoding. It equals dev_t for majors below 4096;
// Linux uses no others.
Answer ask_kernel(const std::string& node, uint64_t device_number, LoopBacking& backing) {
  const FileDescriptor loop(::open(node.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!loop && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
    throw system_error("open", node, errno, MessageId::kCannotLook);
  }
  if (!loop && errno == EACCES && ::geteuid() != 0) return Answer::kForbidden;
  struct stat status;
  if (!loop || ::fstat(loop.get(), &status) != 0 || !S_ISBLK(status.st_mode) ||
      status.st_rdev != device_number) {
    return Answer::kNoNode;
  }
  loop_info64 info{};
  if (::ioctl(loop.get(), LOOP_GET_STATUS64, &info) != 0) {
    // ENXIO: detached since sysfs was read. Any other errno: the device does not answer.
    return errno == ENXIO ? Answer::kDetached : Answer::kNoNode;
  }
  backing.file_system = info.lo_device;
  backing.inode = info.lo_inode;
  backing.device_number = info.lo_rdevice;
  return Answer::kKnown;
}

void believe_name(LoopBacking& backing) {
  struct stat status;
  if (::stat(backing.path.c_str(), &status) != 0) return;
  backing.file_system = status.st_dev;
  backing.inode = status.st_ino;
  backing.device_number = S_ISBLK(status.st_mode) ? status.st_rdev : 0;
}

}  // namespace

std::optional<LoopBacking> loop_backing(const SystemRoot& root, uint64_t device_number) {
  const SysfsBlock block(root, device_number);
  if (!block.has("loop/backing_file")) return std::nullopt;
  LoopBacking backing;
  backing.path = block.text("loop/backing_file");
  backing.offset = block.number("loop/offset");
  backing.size_limit = block.number("loop/sizelimit");
  const std::string node = root.dev + "/" + block.kernel_name();
  switch (ask_kernel(node, device_number, backing)) {
    case Answer::kKnown:
      return backing;
    case Answer::kDetached:
      return std::nullopt;
    case Answer::kForbidden:
      break;
    case Answer::kNoNode:
      if (!root.is_kernels) break;
      if (!block.has("loop/backing_file")) return std::nullopt;  // removed just now
      throw cannot_look(node,
                        "it is not the node of the loop device over " + backing.path +
                            ", which may lie on the same bytes",
                        "make the node (mount -t devtmpfs devtmpfs /dev, or mknod), detach that "
                        "loop device, or run extmerge outside of the chroot or container");
  }
  believe_name(backing);
  return backing;
}

std::vector<LoopDevice> loop_devices(const SystemRoot& root) {
  std::vector<LoopDevice> found;
  check_told_by_kernel(root, KernelFiles::kSysfs, root.sys + "/block");
  for (const uint64_t number : device_numbers_in(root.sys + "/block")) {
    if (const auto backing = loop_backing(root, number)) found.push_back({number, *backing});
  }
  return found;
}

}  // namespace extmerge
