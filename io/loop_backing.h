// SPDX-License-Identifier: GPL-3.0-or-later
//
// The backing file or device of a loop device. Internal to io/.
//
// The kernel tells the backing file's inode (LOOP_GET_STATUS64). The name may be gone, mean another
// file now, or be in another mount namespace. The name in sysfs counts only for a user who may not
// open the loop device. Without a node for the loop device (a chroot, a container) that name
// belongs to another tree of files: kCannotLook.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/sysfs.h"

namespace extmerge {

struct LoopBacking {
  std::string path;  // as in sysfs, perhaps with " (deleted)" at the end
  uint64_t offset = 0;
  uint64_t size_limit = 0;     // 0 for none
  uint64_t file_system = 0;    // st_dev and st_ino of the backing file
  uint64_t inode = 0;          // 0 if unknown
  uint64_t device_number = 0;  // st_rdev if that is a block device, else 0

  // Whether the loop device shows the whole backing file or device.
  bool is_whole() const { return offset == 0 && size_limit == 0; }
};

// Nothing if the device is not a loop device, or has no backing file.
std::optional<LoopBacking> loop_backing(const SystemRoot& root, uint64_t device_number);

struct LoopDevice {
  uint64_t device_number = 0;
  LoopBacking backing;
};
std::vector<LoopDevice> loop_devices(const SystemRoot& root);

}  // namespace extmerge
