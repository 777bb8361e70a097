// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/loop_backing.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "io/file_descriptor.h"

namespace extmerge {

namespace {

// The numbers in loop_info64 are in the kernel's 32-bit encoding, which agrees
// with dev_t for every major below 4096; Linux has none above.
bool ask_kernel(const std::string& node, uint64_t device_number, LoopBacking& backing) {
  const FileDescriptor loop(::open(node.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat status;
  if (!loop || ::fstat(loop.get(), &status) != 0) return false;
  loop_info64 info{};
  if (!S_ISBLK(status.st_mode) || status.st_rdev != device_number ||
      ::ioctl(loop.get(), LOOP_GET_STATUS64, &info) != 0) {
    return false;
  }
  backing.file_system = info.lo_device;
  backing.inode = info.lo_inode;
  backing.device_number = info.lo_rdevice;
  return true;
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
  if (!ask_kernel(root.dev + "/" + block.kernel_name(), device_number, backing)) {
    believe_name(backing);
  }
  return backing;
}

std::vector<LoopDevice> loop_devices(const SystemRoot& root) {
  std::vector<LoopDevice> found;
  for (const uint64_t number : device_numbers_in(root.sys + "/block")) {
    if (const auto backing = loop_backing(root, number)) found.push_back({number, *backing});
  }
  return found;
}

}  // namespace extmerge
