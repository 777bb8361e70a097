// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a loop device stands on. Internal to io/.
//
// The kernel is asked (LOOP_GET_STATUS64): it knows the backing file by inode,
// also when its name is gone, means another file by now, or is one of another
// mount namespace. The name in sysfs is believed only for a user who may not open
// the loop device. Where its node is missing (a chroot, a container) that name is of
// another tree of files, so this is kCannotLook.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/sysfs.h"

namespace extmerge {

struct LoopBacking {
  std::string path;  // as sysfs has it, perhaps with " (deleted)" at the end
  uint64_t offset = 0;
  uint64_t size_limit = 0;     // 0 for none
  uint64_t file_system = 0;    // st_dev and st_ino of the backing file
  uint64_t inode = 0;          // 0 if unknown
  uint64_t device_number = 0;  // st_rdev if that is a block device, else 0

  // Whether it shows all of it, so that one is as good as the other.
  bool is_whole() const { return offset == 0 && size_limit == 0; }
};

// Nothing for a device that is no loop device, or one without a backing file.
std::optional<LoopBacking> loop_backing(const SystemRoot& root, uint64_t device_number);

struct LoopDevice {
  uint64_t device_number = 0;
  LoopBacking backing;
};
std::vector<LoopDevice> loop_devices(const SystemRoot& root);

}  // namespace extmerge
