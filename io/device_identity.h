// SPDX-License-Identifier: GPL-3.0-or-later
//
// A name for a disk that is the same after a reboot and another one for another
// disk, which neither its path nor its number is. Internal to io/.
//
//   dm:LVM-Zf0...                      device-mapper, its uuid
//   dm-name:scratch                    device-mapper without a uuid
//   md:1c3f...                         Linux RAID, where the kernel tells its uuid
//   loop:file:ino=12,born=...+1048576  its backing file or device, and the offset into it;
//                                      one over the whole of it has the name of that
//   wwid:naa.5000c500...               a disk with a name from its maker
//   serial:...                         a virtual disk with a serial number
//   X,partition=2,start=2048           partition of X, its first sector
//   device:vdb,size=1073741824         nothing better known
//   file:ino=12,born=1700000000.5      a file: inode and birth time (0 where none is kept)

#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "io/sysfs.h"
#include "io/units.h"

namespace extmerge {

std::string identity_of_device(const SystemRoot& root, uint64_t device_number, Bytes size);

// What of statx() goes into a file's identity; the mask to ask for.
inline constexpr unsigned kFileIdentityMask = STATX_INO | STATX_BTIME;
std::string identity_of_file(const struct statx& status);

}  // namespace extmerge
