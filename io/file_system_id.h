// SPDX-License-Identifier: GPL-3.0-or-later
//
// A file system's own name, which is the same after a reboot, whatever device it is on then and
// wherever it is mounted. Internal to io/.

#pragma once

#include <string>

namespace extmerge {

// The name of the file system that holds `path`; opens that for reading. A snapshot of a subvolume
// (btrfs) or of a dataset (ZFS) has another one, a copy of the whole device the same. Empty where
// there is none that lasts: NFS, tmpfs, overlayfs, or a file that is not for us to read.
std::string file_system_id(const std::string& path);

}  // namespace extmerge
