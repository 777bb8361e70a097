// SPDX-License-Identifier: GPL-3.0-or-later
//
// Whether LVM can make the freeze and the marks of a merge. A plan asks before anything is changed.

#pragma once

#include <filesystem>
#include <string>

#include "cli/source/lvm/thin_volume.h"
#include "io/error.h"

namespace extmerge {

// The most that the freeze, the mark of the origin and those of so many members add to the metadata
// of the group, in bytes.
uint64_t metadata_of_merge(const ThinVolume& volume, bool has_freeze, size_t members);
// Refuses if the group's metadata area has less room than that.
Refusal judge_metadata_area(const ThinVolume& volume, bool has_freeze, size_t members);

// Whether a folder such as /lib/modules/6.1.0 has the module, or its kernel is built with it. True
// if that cannot be told.
bool has_module(const std::filesystem::path& folder, const std::string& module);
// The cure for an active volume of which LVM makes no snapshot, since the kernel lacks the target.
std::string way_without_snapshot_target(const LogicalVolume& snap);
// LVM makes no snapshot without the kernel's target, and loads its module by modprobe.
Refusal judge_snapshot_target(const ThinVolume& volume);

}  // namespace extmerge
