// SPDX-License-Identifier: GPL-3.0-or-later
//
// A volume group as LVM listed it at one moment, by one `lvs`.

#pragma once

#include <string>
#include <vector>

#include "cli/source/lvm/lvm.h"
#include "merge/job.h"

namespace extmerge {

class Group {
 public:
  Group() = default;  // without volumes
  explicit Group(std::vector<LogicalVolume> volumes) : volumes_(std::move(volumes)) {}
  // The group called `vg`. Throws as Lvm::volumes().
  Group(const Lvm& lvm, const std::string& vg) : Group(lvm.volumes(vg)) {}

  // The group that has one of these volumes. The group may be renamed, and another group may have
  // the name `vg` now. Throws kGroupAbsent if there is neither such a volume nor such a group.
  static Group with(const Lvm& lvm, const std::string& vg,
                    const std::vector<std::string>& lv_uuids);

  // All of them, also the hidden ones.
  const std::vector<LogicalVolume>& volumes() const { return volumes_; }
  // Null if there is none. find_pool() takes the uuid of a pool's device.
  const LogicalVolume* find(const std::string& name) const;
  const LogicalVolume* find_by_uuid(const std::string& uuid) const;
  const LogicalVolume* find_pool(const std::string& dm_uuid) const;

  // The name of a thin's external origin; empty if it has none. A thin over another thin of its
  // pool counts as an internal snapshot: see unclear_parent(). Such a snapshot reads the external
  // origin of its parent.
  std::string external_origin(const LogicalVolume& thin) const;
  // A parent that may be the thin's external origin: LVM lists it like that of an internal
  // snapshot. Null if there is none.
  const LogicalVolume* unclear_parent(const LogicalVolume& thin) const;
  // The thin volumes whose external origin is or may be `origin`; `pool` is the pool of this merge.
  std::vector<OriginUser> users_of(const std::string& origin, const std::string& pool) const;

  // Refuses a group in which nothing can be merged. Throws kUnfitGroup, or kGroupAbsent if disks
  // are missing: then the metadata may be old and volumes may be missing.
  void check() const;

 private:
  // Thins that may be snapshots of a thin origin, or may have it as their external origin: LVM
  // lists both alike, if they are in its pool. Empty if the roles tell that all are snapshots.
  std::vector<const LogicalVolume*> unclear_readers(const std::string& origin) const;

  std::vector<LogicalVolume> volumes_;
};

// Whether the volume is active now, by device-mapper's word: a listing may be old.
bool is_active_now(const LogicalVolume& volume);
// Whether the volume is an active thin. LVM 2.03.16 makes no snapshot of a thin over such an
// origin.
bool may_hinder_freeze(const LogicalVolume& origin);
// Whether a program has the volume open now. udev opens volumes for moments, too.
bool is_open_now(const LogicalVolume& volume);
// The current name of an active volume, as "vg/name"; the last known name of an inactive one.
std::string present_name(const LogicalVolume& volume);

}  // namespace extmerge
