// SPDX-License-Identifier: GPL-3.0-or-later
//
// Mounted file systems and swap, as /proc tells it. Internal to io/.
//
// Only this process's mount namespace is seen. A device that is mounted in
// another one is still caught when it is claimed, since mounting takes it
// exclusively in all of them.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/sysfs.h"

namespace extmerge {

struct Mount {
  uint64_t id = 0;             // statx's stx_mnt_id
  uint64_t device_number = 0;  // st_dev of the files in it, but for btrfs
  std::string mount_point;
  std::string source;
};

std::vector<Mount> read_mounts(const SystemRoot& root);

// The block devices a file system lies on: its own number where that is one.
// btrfs, which has an anonymous one, is known by its source, and its further
// devices by sys/fs/btrfs. None for tmpfs, NFS and the like.
std::vector<uint64_t> devices_under(const SystemRoot& root, const Mount& mount);

// Paths of the swap devices and files in use.
std::vector<std::string> swap_paths(const SystemRoot& root);

// Undoes the kernel's \040 for a space and the like.
std::string unescape_octal(std::string_view text);

}  // namespace extmerge
