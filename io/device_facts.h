// SPDX-License-Identifier: GPL-3.0-or-later
//
// The system's facts about a device or image, before anything is opened for writing: its kind, its
// users, the devices under it. merge/preflight.h decides which facts are reasons to refuse, so that
// tests of refusals need neither root nor devices.
//
// Sources: stat(2), sysfs (dev/block/M:m/{slaves,holders,loop,dm,partition}),
// BLKROGET, BLKGETSIZE64, BLKSSZGET, /proc/self/mountinfo, /proc/swaps.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/sysfs.h"
#include "io/units.h"

namespace extmerge {

// A dm or md node directly over a device, as in sysfs `holders/`, or a loop device that reaches the
// same bytes.
struct Holder {
  std::string name;  // "dm-3", "loop0"; for dm the dm name follows: "dm-3 (vg-thin)"
  uint64_t device_number = 0;
};

struct DeviceFacts {
  std::string path;  // as given by the user, or a name for messages
  std::string node;  // opened instead of `path`, unless empty
  bool exists = false;
  bool is_block = false;
  bool is_regular = false;
  bool is_export = false;      // an NBD export: `path` is its URI, and nothing is known below it
  uint64_t file_system = 0;    // st_dev of the node itself
  uint64_t inode = 0;          // st_ino
  uint64_t device_number = 0;  // st_rdev of a block device, else 0
  Bytes size;
  Bytes logical_block_size{512};  // of a block device; 512 for a file
  bool read_only = false;         // BLKROGET, or a file on a read-only mount, or an immutable one

  // The identity of this disk across reboots and renames, never major:minor. dm uuid or name; a
  // loop's backing file; WWID or serial; inode and birth time of a file. Shown as "dm:LVM-..." and
  // the like.
  std::string identity;

  // The last modification of an image in ns since the epoch. For a loop device over a whole file,
  // that file's. 0 for all others, or if unknown.
  uint64_t modified = 0;

  // Numbers of all devices that this one lies on, and its own: dm and md slaves, a partition's
  // disk, devices under a loop's backing file.
  std::vector<uint64_t> underlying;
  // Backing files of all loop devices under this device, and the file itself if it is one.
  struct File {
    uint64_t file_system = 0;
    uint64_t inode = 0;
    uint64_t loop = 0;  // number of the loop device over it, 0 for the file itself
    // Equal for the same file, whichever loop device reaches it.
    friend bool operator==(const File& a, const File& b) {
      return a.file_system == b.file_system && a.inode == b.inode;
    }
  };
  std::vector<File> underlying_files;

  // Devices over this one or a partition of it. Loop devices over it, over a partition of it, over
  // a device under it, or over the same file; except those it lies on.
  std::vector<Holder> holders;
  // Holders of the devices under this one, except this device and those under it. Most are other
  // volumes beside it. A thin reads its bytes if its external origin is that lower device (LVM:
  // vg-origin-real).
  std::vector<Holder> neighbours;
  // Mount points of the device, its partitions, and the loop devices among its holders.
  std::vector<std::string> mount_points;
  bool is_swap = false;
};

// A missing or odd path is a fact, not an Error; if `exists` is false, the rest is empty. Throws
// kPermission on EACCES. Throws kCannotLook if the kernel's own file systems are not mounted or
// cannot be read.
DeviceFacts inspect(const std::string& path);

// The facts of the device with that number. Its node is the target of `shown_as` now, without
// links: udev may remove and restore links in /dev/mapper and /dev/VG at any time. If `shown_as` is
// missing or leads elsewhere, the node is the kernel's own (/dev/dm-3). `exists` is false if
// neither is that device.
DeviceFacts inspect_device(uint64_t device_number, const std::string& shown_as);

// Fills in only the kind of `path`, `underlying` and `underlying_files`. Opens nothing and does not
// look for users. Throws as inspect() does.
DeviceFacts look_below(const std::string& path);
// The same for an open file.
DeviceFacts look_below(int open_file);

// The backing files of all loop devices.
std::vector<DeviceFacts::File> files_under_loops();

bool contains(const std::vector<uint64_t>& numbers, uint64_t number);

// True if the devices are the same, or if one lies under the other. Different loop devices over one
// backing file below them count, too. Two partitions of a disk, or two mappings side by side on one
// disk, do not overlap.
bool overlaps(const DeviceFacts& a, const DeviceFacts& b);

// The device numbers under the file system of `path`, as in `underlying`; empty for tmpfs and the
// like. If `path` does not exist, its nearest existing folder counts.
std::vector<uint64_t> devices_under_file_system(const std::string& path);

// The same with another place for sysfs and procfs (tests).
DeviceFacts inspect(const std::string& path, const SystemRoot& root);

// Fills in the facts of sysfs and /proc about the block device facts.device_number (identity,
// underlying, holders, mount points, swap). The identity needs facts.size. The device itself may be
// missing.
void describe_device(const SystemRoot& root, DeviceFacts& facts);

std::vector<uint64_t> devices_under_file_system(const std::string& path, const SystemRoot& root);

}  // namespace extmerge
