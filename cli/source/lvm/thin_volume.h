// SPDX-License-Identifier: GPL-3.0-or-later
//
// VG/SNAP as LVM knows it: the thin volume, its pool with both component volumes,
// its external origin, and who else reads that. Every reason why such a volume
// cannot be merged at all is found here, before anything is changed.

#pragma once

#include <string>
#include <vector>

#include "cli/source/dm/device_mapper.h"
#include "cli/source/lvm/lvm.h"
#include "merge/job.h"

namespace extmerge {

// The tags by which volumes of ours are known, also to administrators.
inline constexpr const char* kFreezeTag = "extmerge.freeze";
inline constexpr const char* kHalfMergedTag = "extmerge.half-merged";

struct ThinVolume {
  LogicalVolume snap, pool, origin;
  // All other thin volumes that read the origin. Every freeze is one of them.
  std::vector<OriginUser> origin_users;
  // Volumes that LVM removes with the thin volume: it is their external origin, or they are
  // old-style snapshots of it.
  std::vector<std::string> dependents;
  std::vector<LogicalVolume> volumes;  // of the whole group
};

// Whether the group of these volumes, all of it, can be worked in. Throws kUnfitGroup, or
// kGroupAbsent where disks are missing: the metadata may be an old one then, in which volumes
// are missing, too.
void check_group(const std::vector<LogicalVolume>& volumes);

// `name` is "vg/snap". Throws kGroupAbsent, kNotFound, kNotAThin, kUnfitOrigin, kUnfitGroup.
ThinVolume find_thin_volume(const Lvm& lvm, const std::string& name);
// Likewise, of the volume `snap` in `volumes`, all of its group.
ThinVolume find_thin_volume(const Lvm& lvm, std::vector<LogicalVolume> volumes,
                            const std::string& snap);

// kActivationForbidden: `setting` is what Lvm::activation_hindrance() says.
Error activation_forbidden(const LogicalVolume& volume, const std::string& setting);

// The volume that a node of device-mapper is, as "vg/name"; throws kNotFound. Only its own group
// is asked.
std::string volume_of_dm(const Lvm& lvm, const DmTable& node);

// Every volume of the group that has one of these: it may have another name than `vg` by now,
// and another group may have that. Throws kNotFound if there is neither such a volume nor such a
// group.
std::vector<LogicalVolume> group_with(const Lvm& lvm, const std::string& vg,
                                      const std::vector<std::string>& lv_uuids);
// The name that an active volume has just now, as "vg/name"; of an inactive one the one it had.
std::string present_name(const LogicalVolume& volume);

// The thin volumes among `volumes` whose external origin is `origin`; `origins` is
// Lvm::external_origins(), `pool` the one that is not another.
std::vector<OriginUser> users_of_origin(const std::vector<LogicalVolume>& volumes,
                                        const std::map<std::string, std::string>& origins,
                                        const std::string& origin, const std::string& pool);

// By name, by LVM's uuid, or a pool by that of its device; null if there is none.
const LogicalVolume* find_volume(const std::vector<LogicalVolume>& volumes,
                                 const std::string& name);
const LogicalVolume* find_by_uuid(const std::vector<LogicalVolume>& volumes,
                                  const std::string& uuid);
const LogicalVolume* find_pool_of(const std::vector<LogicalVolume>& volumes,
                                  const std::string& dm_uuid);

}  // namespace extmerge
