// SPDX-License-Identifier: GPL-3.0-or-later
//
// The identity of a disk: it stays the same after a reboot and differs between disks. A path or a
// device number does neither. Internal to io/.
//
//   dm:LVM-Zf0...                      device-mapper, its uuid
//   dm-name:scratch                    device-mapper without a uuid
//   md:1c3f...                         Linux RAID, where the kernel tells its uuid
//   loop:file:ino=...+1048576          its backing file or device, and the offset into it;
//                                      one over the whole of it has the name of that
//   wwid:naa.5000c500...               a disk with a name from its maker
//   serial:...                         a virtual disk with a serial number
//   X,partition=2,start=2048           partition of X, its first sector
//   device:vdb,size=1073741824         nothing better known
//   file:ino=12,born=1700000000.5,fs=9e...,on=07...   a file
//
// A file's identity has these parts; the last two are missing if they are not known:
//   ino, born  inode and birth time (0 where none is kept), which copies share
//   fs=HASH    its file system: btrfs, with the subvolume, ext4, XFS, ZFS. Another one for a
//              snapshot; the same for a copy of the whole file system
//   on=HASH    the name of the one device under the file system, unless that is a kernel's name;
//              over=HASH if that name may be another disk's as well (is_certain_identity())
// io/identity.h compares identities of which one lacks a part.

#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "io/sysfs.h"
#include "io/units.h"

namespace extmerge {

std::string identity_of_device(const SystemRoot& root, uint64_t device_number, Bytes size);

// The mask of statx() for a file's identity.
inline constexpr unsigned kFileIdentityMask = STATX_INO | STATX_BTIME | STATX_MNT_ID;
std::string identity_of_file(const SystemRoot& root, const std::string& path,
                             const struct statx& status);
// Only inode and birth time, which all versions wrote.
std::string identity_of_file(const struct statx& status);

}  // namespace extmerge
