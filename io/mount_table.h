// SPDX-License-Identifier: GPL-3.0-or-later
//
// Mounted file systems and swap, as /proc tells it.
//
// Only this process's mount namespace is seen. A device that is mounted in
// another one is still caught when it is claimed, since mounting takes it
// exclusively in all of them.
//
// Throws kCannotLook where the kernel would have told something: mountinfo has at least the
// line of /proc itself, and swaps has its headings. A kernel without swap has no such file;
// /proc/meminfo says then that the total of swap is 0.

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
  uint64_t device_number = 0;  // st_dev of the files in it, but for btrfs
  std::string mount_point;
  std::string source;
  std::string type;
};

std::vector<Mount> read_mounts(const SystemRoot& root);

// The block devices a file system lies on: its own number where that is one.
// btrfs, which has an anonymous one, is known by its source, and its further
// devices by sys/fs/btrfs: those of all of them if the source has no node here
// (a chroot, a container). None for tmpfs, NFS and the like.
std::vector<uint64_t> devices_under(const SystemRoot& root, const Mount& mount);

// The devices under the file system of the file `path`; statx() says `status` of it. A file system
// whose st_dev is a device number lies on that device; the others (btrfs) are found by their
// mount, by id where the kernel tells it (5.8 and later), which a chroot may not show: kCannotLook.
std::vector<uint64_t> devices_under_file(const SystemRoot& root, const std::string& path,
                                         const struct statx& status);
Error unknown_device(const SystemRoot& root, uint64_t device_number, const std::string& what);

// Whether a file lies on a file system in memory: tmpfs and the like.
bool is_in_memory(const std::string& path);

// Paths of the swap devices and files in use.
std::vector<std::string> swap_paths(const SystemRoot& root);

// Throws kCannotLook unless sysfs, the mount table and the list of swap can be read: for what is
// asked by way of another program, which has other words for it.
void check_facts_are_told(const SystemRoot& root = {});

// Undoes the kernel's \040 for a space and the like.
std::string unescape_octal(std::string_view text);

}  // namespace extmerge
