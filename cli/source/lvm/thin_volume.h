// SPDX-License-Identifier: GPL-3.0-or-later
//
// VG/SNAP as LVM knows it: the thin volume, its pool, its external origin and the other readers of
// that. find_thin_volume() refuses a volume that can never be merged, before anything is changed.

#pragma once

#include <string>
#include <vector>

#include "cli/source/dm/device_mapper.h"
#include "cli/source/lvm/lvm.h"
#include "merge/job.h"

namespace extmerge {

// extmerge's tags on volumes, also for administrators.
inline constexpr const char* kFreezeTag = "extmerge.freeze";
inline constexpr const char* kHalfMergedTag = "extmerge.half-merged";

struct ThinVolume {
  LogicalVolume snap, pool, origin;
  // All other thin volumes that read the origin, including every freeze.
  std::vector<OriginUser> origin_users;
  // Volumes that LVM removes together with the thin volume: it is their external origin, or they
  // are its old-style snapshots.
  std::vector<std::string> dependents;
  std::vector<LogicalVolume> volumes;  // of the whole group
};

// Refuses a group in which nothing can be merged; `volumes` are all of the group. Throws
// kUnfitGroup, or kGroupAbsent if disks are missing: then the metadata may be old and volumes may
// be missing.
void check_group(const std::vector<LogicalVolume>& volumes);

// `name` is "vg/snap". Throws kGroupAbsent, kNotFound, kNotAThin, kUnfitOrigin, kUnfitGroup.
ThinVolume find_thin_volume(const Lvm& lvm, const std::string& name);
// The same for the volume `snap`; `volumes` are all of its group.
ThinVolume find_thin_volume(const Lvm& lvm, std::vector<LogicalVolume> volumes,
                            const std::string& snap);

// kActivationForbidden; `setting` is the result of Lvm::activation_hindrance().
Error activation_forbidden(const LogicalVolume& volume, const std::string& setting);

// The volume of a device-mapper node, as "vg/name". Throws kNotFound. LVM is asked about this group
// only.
std::string volume_of_dm(const Lvm& lvm, const DmTable& node);

// Every volume of the group that has one of these volumes. The group may be renamed, and another
// group may have the name `vg` now. Throws kGroupAbsent if there is neither such a volume nor such
// a group.
std::vector<LogicalVolume> group_with(const Lvm& lvm, const std::string& vg,
                                      const std::vector<std::string>& lv_uuids);
// The current name of an active volume, as "vg/name"; the last known name of an inactive one.
std::string present_name(const LogicalVolume& volume);

// The thin volumes among `volumes` whose external origin is `origin`. `origins` is
// Lvm::external_origins(); `pool` is the pool of this merge.
std::vector<OriginUser> users_of_origin(const std::vector<LogicalVolume>& volumes,
                                        const std::map<std::string, std::string>& origins,
                                        const std::string& origin, const std::string& pool);

// Finds a volume by name or by LVM's uuid, or a pool by its dm uuid; null if there is none.
const LogicalVolume* find_volume(const std::vector<LogicalVolume>& volumes,
                                 const std::string& name);
const LogicalVolume* find_by_uuid(const std::vector<LogicalVolume>& volumes,
                                  const std::string& uuid);
const LogicalVolume* find_pool_of(const std::vector<LogicalVolume>& volumes,
                                  const std::string& dm_uuid);

}  // namespace extmerge
