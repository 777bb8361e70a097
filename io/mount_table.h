// SPDX-License-Identifier: GPL-3.0-or-later
//
// Mounted file systems and swap, from /proc.
//
// /proc shows only this process's mount namespace. The claim still detects a device that is mounted
// in another namespace, because a mount takes it exclusively in all of them.
//
// Throws kCannotLook if a file is empty or missing: mountinfo has at least the line of /proc
// itself, swaps has its headings. A kernel without swap has no swaps file; then /proc/meminfo shows
// a swap total of 0.

#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/sysfs.h"

namespace extmerge {

struct Mount {
  uint64_t id = 0;             // statx's stx_mnt_id
  uint64_t device_number = 0;  // st_dev of its files, except for btrfs
  std::string mount_point;
  std::string source;
  std::string type;
};

std::vector<Mount> read_mounts(const SystemRoot& root);

// The block devices under a file system: its own number if that is a device. btrfs has an anonymous
// number. Its source tells the device, and sys/fs/btrfs its other devices. If the source has no
// node here (a chroot, a container), the devices of all btrfs file systems count. None for tmpfs,
// NFS and the like.
std::vector<uint64_t> devices_under(const SystemRoot& root, const Mount& mount);

// The devices under the file system of the file `path`; `status` is its statx(). If st_dev is a
// device number, that is the device. Other file systems (btrfs) are found by their mount, by its id
// if the kernel tells it (5.8 and later). kCannotLook if a chroot hides the mount.
std::vector<uint64_t> devices_under_file(const SystemRoot& root, const std::string& path,
                                         const struct statx& status);
Error unknown_device(const SystemRoot& root, uint64_t device_number, const std::string& what);

// Whether a file is on a file system in memory: tmpfs and the like.
bool is_in_memory(const std::string& path);

// Paths of the swap devices and files in use.
std::vector<std::string> swap_paths(const SystemRoot& root);

// Throws kCannotLook unless sysfs, the mount table and the list of swap can be read. Call it before
// another program needs them, which would fail with other words.
void check_facts_are_told(const SystemRoot& root = {});

// Turns the kernel's \040 back into a space, and the like.
std::string unescape_octal(std::string_view text);

}  // namespace extmerge
