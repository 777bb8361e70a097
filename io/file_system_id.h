// SPDX-License-Identifier: GPL-3.0-or-later
//
// The id of a file system: it stays the same after a reboot, on any device and at any mount point.
// Internal to io/.

#pragma once

#include <string>

namespace extmerge {

// The id of the file system that holds `path`; opens `path` for reading. A snapshot of a subvolume
// (btrfs) or of a dataset (ZFS) has another id, a copy of the whole device the same. Empty if no id
// lasts (NFS, tmpfs, overlayfs), or if this user cannot read the file.
std::string file_system_id(const std::string& path);

}  // namespace extmerge
