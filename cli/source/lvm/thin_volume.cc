// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/thin_volume.h"

#include <optional>
#include <string_view>

#include "cli/source/lvm/origin_kind.h"
#include "io/error.h"

namespace extmerge {

namespace {

const LogicalVolume& volume_called(const Group& group, const std::string& name,
                                   const std::string& what) {
  if (const LogicalVolume* const found = group.find(name)) return *found;
  throw Error(MessageId::kNotFound, "there is no " + what + " " + name,
              "look at lvs -a; the name of a volume is VG/LV, a path begins with / or ./");
}

}  // namespace

bool is_name(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-";
  return !name.empty() && name.front() != '-' &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

ThinVolume find_thin_volume(const Lvm& lvm, const std::string& name, const Group& listed) {
  const size_t slash = name.find('/');
  const std::string vg = name.substr(0, slash);
  const std::string lv = slash == std::string::npos ? "" : name.substr(slash + 1);
  if (!is_name(vg) || !is_name(lv)) {
    throw Error(MessageId::kUsage, "'" + name + "' is no name of a volume",
                "write VG/SNAP; a path begins with / or ./");
  }
  return find_thin_volume(listed.volumes().empty() ? Group(lvm, vg) : listed, lv);
}

ThinVolume find_thin_volume(Group group, const std::string& snap) {
  ThinVolume found;
  group.check();
  found.group = std::move(group);
  found.snap = volume_called(found.group, snap, "volume called");
  const std::string vg = found.snap.vg, name = found.snap.full_name();
  if (!found.snap.is_thin() || !found.snap.thin_id) {
    throw Error(MessageId::kNotAThin,
                name + " is no thin volume but a " + found.snap.segment_type + " one",
                "extmerge merges a thin volume into its external origin; for other snapshots see "
                "lvconvert --merge");
  }
  const std::string origin = found.group.external_origin(found.snap);
  if (origin.empty()) {
    // `lvcreate -s --thinpool POOL` of a thin of the same pool makes an internal snapshot.
    const bool is_internal = !found.snap.origin.empty();
    throw Error(MessageId::kNotAThin,
                name + " has no external origin" +
                    (is_internal ? ": it is an ordinary snapshot of " + vg + "/" +
                                       found.snap.origin + ", a thin volume of the same pool"
                                 : ""),
                "extmerge has no origin to merge it into; LVM merges a thin snapshot of a thin "
                "volume (lvconvert --merge)");
  }
  if (const LogicalVolume* const parent = found.group.unclear_parent(found.snap)) {
    throw unfit_origin(
        *parent,
        "a thin volume of the same pool, which LVM lists like the parent of an ordinary snapshot",
        "copy the thin to a new volume instead (dd; see extmerge-recovery(7))");
  }
  found.origin = volume_called(found.group, origin, "external origin");
  check_origin_kind(found.group, found.origin);
  found.pool = volume_called(found.group, found.snap.pool, "pool");

  found.find_origin_users();
  return found;
}

void ThinVolume::find_origin_users() {
  origin_users = group.users_of(origin.name, pool.name);
  std::erase_if(origin_users,
                [&](const OriginUser& user) { return user.name == snap.full_name(); });
}

std::vector<std::string> dependents_of(const Group& group, const std::string& uuid) {
  const LogicalVolume* const now = group.find_by_uuid(uuid);
  std::vector<std::string> found;
  for (const LogicalVolume& volume : group.volumes()) {
    if (!now || volume.origin != now->name) continue;
    const bool is_internal = volume.is_thin() && group.external_origin(volume) != now->name;
    if (!is_internal || now->is_external_origin) found.push_back(volume.full_name());
  }
  return found;
}

void ThinVolume::list_again(const Lvm& lvm) {
  group = Group::with(lvm, snap.vg, {origin.uuid, snap.uuid});
  for (LogicalVolume* const one : {&snap, &pool, &origin}) {
    const LogicalVolume* const now = group.find_by_uuid(one->uuid);
    if (!now) continue;
    one->vg = now->vg;
    one->name = now->name;
  }
}

}  // namespace extmerge
