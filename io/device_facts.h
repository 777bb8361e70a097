// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the system says of a device or image before anything is opened for
// writing: what it is, who uses it, what lies under it. Only facts; which of
// them are reasons to refuse is merge/preflight.h's business, so that each
// refusal can be tested without root and without devices.
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

// A dm or md node that lies directly over a device, as sysfs `holders/` names
// it, or a loop device by which the same bytes can be come to.
struct Holder {
  std::string name;  // "dm-3", "loop0"; for dm the dm name follows: "dm-3 (vg-thin)"
  uint64_t device_number = 0;
};

struct DeviceFacts {
  std::string path;  // as the user gave it, or as messages call it
  std::string node;  // what is opened in its place; empty: `path` itself
  bool exists = false;
  bool is_block = false;
  bool is_regular = false;
  uint64_t file_system = 0;    // st_dev of the node itself
  uint64_t inode = 0;          // st_ino
  uint64_t device_number = 0;  // st_rdev of a block device, else 0
  Bytes size;
  Bytes logical_block_size{512};  // of a block device; 512 for a file
  bool read_only = false;  // BLKROGET, or a file nobody could write (read-only mount, immutable)

  // Names this very disk across reboots and renames, never by major:minor:
  // dm uuid or name; a loop's backing file; WWID or serial; inode and birth
  // time of a file. Shown as "dm:LVM-..." and the like.
  std::string identity;

  // When an image was last written to, in ns since the epoch; of a loop device that shows a whole
  // file, that file. 0 of all others, and where it cannot be told.
  uint64_t modified = 0;

  // Every device number this one lies on, itself included: dm and md slaves,
  // a partition's disk, a loop's backing file's file system.
  std::vector<uint64_t> underlying;
  // (file system, inode) of every backing file of a loop it lies on, and of the
  // file itself if it is one.
  struct File {
    uint64_t file_system = 0;
    uint64_t inode = 0;
    uint64_t loop = 0;  // number of the loop device over it, 0 for the file itself
    // Whether it is the same file, by whatever way it was come to.
    friend bool operator==(const File& a, const File& b) {
      return a.file_system == b.file_system && a.inode == b.inode;
    }
  };
  std::vector<File> underlying_files;

  // Over it or a partition of it; and every loop device, but those it lies on
  // itself, over that, over a device that it lies on, or over the same file.
  std::vector<Holder> holders;
  // What is in `holders` of a device that it lies on, and neither this device nor
  // under it. Most are others' volumes side by side with it; what reads its bytes
  // is a thin whose external origin is that device (LVM: vg-origin-real).
  std::vector<Holder> neighbours;
  // Where it, a partition of it, or a loop among its holders is mounted.
  std::vector<std::string> mount_points;
  bool is_swap = false;
};

// Never throws for a path that is missing or odd: the facts say so.
// `exists` false leaves the rest empty; EACCES on the way throws kPermission. Where the kernel's
// own file systems are not mounted or cannot be read it throws kCannotLook.
DeviceFacts inspect(const std::string& path);

// The device with that number. The node to be opened is the one that `shown_as` leads to now, with
// no link in it: links in /dev/mapper and /dev/VG are udev's, which takes them away and puts them
// back at any time. If `shown_as` is missing or leads elsewhere, it is the kernel's own node
// (/dev/dm-3). `exists` is false if neither is that device.
DeviceFacts inspect_device(uint64_t device_number, const std::string& shown_as);

// Only the kind of `path`, `underlying` and `underlying_files`. Opens nothing and does not look for
// users. Throws as inspect() does.
DeviceFacts look_below(const std::string& path);
// The same of an open file.
DeviceFacts look_below(int open_file);

// The backing files of all loop devices.
std::vector<DeviceFacts::File> files_under_loops();

bool contains(const std::vector<uint64_t>& numbers, uint64_t number);

// True if one is the other or lies under it, or if different loop devices below
// them have the same backing file. Two partitions of a disk, or two mappings
// side by side on one disk, do not overlap.
bool overlaps(const DeviceFacts& a, const DeviceFacts& b);

// The device numbers under the file system that `path` (or, if it does not
// exist yet, its directory) lives on, as `underlying`; empty for tmpfs and the like.
std::vector<uint64_t> devices_under_file_system(const std::string& path);

// The same with another place for sysfs and procfs (tests).
DeviceFacts inspect(const std::string& path, const SystemRoot& root);

// Fills in what sysfs and /proc tell of the block device facts.device_number
// (identity, underlying, holders, mount points, swap). Wants facts.size for the
// identity; the device itself need not be there.
void describe_device(const SystemRoot& root, DeviceFacts& facts);

std::vector<uint64_t> devices_under_file_system(const std::string& path, const SystemRoot& root);

}  // namespace extmerge
