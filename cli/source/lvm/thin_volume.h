// SPDX-License-Identifier: GPL-3.0-or-later
//
// VG/SNAP as LVM knows it: the thin volume, its pool, its external origin and the other readers of
// that. find_thin_volume() refuses a volume that can never be merged, before anything is changed.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/source/lvm/group.h"

namespace extmerge {

// extmerge's tags on volumes, also for administrators.
inline constexpr const char* kFreezeTag = "extmerge.freeze";
inline constexpr const char* kHalfMergedTag = "extmerge.half-merged";
inline constexpr const char* kRestTag = "extmerge.rest";
inline constexpr const char* kGivenUpTag = "extmerge.given-up";

// Volumes that LVM removes together with the volume of that uuid: it is their external origin, or
// they are its old-style snapshots.
std::vector<std::string> dependents_of(const Group& group, const std::string& uuid);

struct ThinVolume {
  LogicalVolume snap, pool, origin;
  // All other thin volumes that read the origin, including every freeze.
  std::vector<OriginUser> origin_users;
  Group group;

  // Volumes that LVM removes together with the thin volume.
  std::vector<std::string> dependents() const { return dependents_of(group, snap.uuid); }

  // Finds the other readers of the origin in the group as it was listed last.
  void find_origin_users();
  // Lists the group again. The three volumes get the names that they have now, where they exist;
  // nothing else of them changes.
  void list_again(const Lvm& lvm);
};

// Whether LVM takes `name` as a name of a group or volume, not as an option or a tag.
bool is_name(std::string_view name);

// `name` is "vg/snap". Lists the group unless `listed` has volumes. Throws kGroupAbsent, kNotFound,
// kNotAThin, kUnfitOrigin, kUnfitGroup.
ThinVolume find_thin_volume(const Lvm& lvm, const std::string& name, const Group& listed);
// The same for the volume `snap` of `group`.
ThinVolume find_thin_volume(Group group, const std::string& snap);

}  // namespace extmerge
