// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/thin_volume.h"

#include <algorithm>
#include <string_view>

#include "io/error.h"

namespace extmerge {

void check_group(const std::vector<LogicalVolume>& volumes) {
  if (volumes.empty()) return;
  const LogicalVolume& volume = volumes.front();
  const auto refuse = [&](MessageId id, const std::string& why, const std::string& next) {
    throw Error(id, "the volume group " + volume.vg + " is " + why, next);
  };
  if (volume.vg_shared) {
    refuse(MessageId::kUnfitGroup, "shared between machines",
           "LVM has no external origins there; nothing overrides this");
  }
  if (volume.vg_exported) {
    refuse(MessageId::kUnfitGroup, "exported", "import it first (vgimport " + volume.vg + ")");
  }
  if (volume.vg_partial) {
    refuse(MessageId::kGroupAbsent, "partial: it misses physical volumes",
           "attach them (vgs -o +vg_missing_pv_count) and run the same command again");
  }
}

namespace {

void check_origin_kind(const std::vector<LogicalVolume>& volumes, const LogicalVolume& origin) {
  const auto refuse = [&](const std::string& what) {
    throw Error(MessageId::kUnfitOrigin,
                "the external origin " + origin.full_name() + " is " + what +
                    ", which this version does not write to",
                "copy the snapshot to a new volume instead (docs/lvm.md)");
  };
  if (!origin.origin.empty()) refuse("an old-style snapshot of " + origin.origin);
  for (const LogicalVolume& volume : volumes) {
    if (volume.name == origin.name && volume.segment_type != "linear" &&
        volume.segment_type != "striped") {
      refuse("a " + volume.segment_type + " volume");
    }
    if (volume.origin == origin.name && !volume.is_thin()) {
      refuse("also the origin of the old-style snapshot " + volume.full_name());
    }
  }
}

// What LVM takes for the name of a group or volume, and not for an option or a tag.
bool is_name(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-";
  return !name.empty() && name.front() != '-' &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

const LogicalVolume& volume_called(const std::vector<LogicalVolume>& volumes,
                                   const std::string& name, const std::string& what) {
  if (const LogicalVolume* const found = find_volume(volumes, name)) return *found;
  throw Error(MessageId::kNotFound, "there is no " + what + " " + name,
              "look at lvs -a; the name of a volume is VG/LV, a path begins with / or ./");
}

}  // namespace

namespace {

template <typename Predicate>
const LogicalVolume* find_where(const std::vector<LogicalVolume>& volumes,
                                const Predicate& predicate) {
  const auto found = std::find_if(volumes.begin(), volumes.end(), predicate);
  return found == volumes.end() ? nullptr : &*found;
}

}  // namespace

const LogicalVolume* find_volume(const std::vector<LogicalVolume>& volumes,
                                 const std::string& name) {
  return find_where(volumes, [&](const LogicalVolume& volume) { return volume.name == name; });
}

const LogicalVolume* find_by_uuid(const std::vector<LogicalVolume>& volumes,
                                  const std::string& uuid) {
  return find_where(volumes, [&](const LogicalVolume& volume) { return volume.uuid == uuid; });
}

const LogicalVolume* find_pool_of(const std::vector<LogicalVolume>& volumes,
                                  const std::string& dm_uuid) {
  return find_where(
      volumes, [&](const LogicalVolume& volume) { return volume.dm_uuid("-tpool") == dm_uuid; });
}

ThinVolume find_thin_volume(const Lvm& lvm, const std::string& name) {
  const size_t slash = name.find('/');
  const std::string vg = name.substr(0, slash);
  const std::string lv = slash == std::string::npos ? "" : name.substr(slash + 1);
  if (!is_name(vg) || !is_name(lv)) {
    throw Error(MessageId::kUsage, "'" + name + "' is no name of a volume",
                "write VG/SNAP; a path begins with / or ./");
  }

  return find_thin_volume(lvm, lvm.volumes(vg), lv);
}

ThinVolume find_thin_volume(const Lvm& lvm, std::vector<LogicalVolume> volumes,
                            const std::string& snap) {
  ThinVolume found;
  check_group(volumes);
  found.volumes = std::move(volumes);
  found.snap = volume_called(found.volumes, snap, "volume called");
  const std::string vg = found.snap.vg, name = found.snap.full_name();
  if (!found.snap.is_thin() || !found.snap.thin_id) {
    throw Error(MessageId::kNotAThin,
                name + " is no thin volume but a " + found.snap.segment_type + " one",
                "extmerge merges a thin volume into its external origin; for other snapshots see "
                "lvconvert --merge");
  }
  const auto origins = lvm.external_origins(vg);
  const auto origin = origins.find(snap);
  if (origin == origins.end()) {
    throw Error(MessageId::kNotAThin, name + " has no external origin",
                "there is nothing to merge it into; a thin snapshot of a thin volume goes back "
                "with lvconvert --merge");
  }
  found.origin = volume_called(found.volumes, origin->second, "external origin");
  check_origin_kind(found.volumes, found.origin);
  found.pool = volume_called(found.volumes, found.snap.pool, "pool");

  for (const auto& [thin, its_origin] : origins) {
    if (its_origin == snap) found.dependents.push_back(vg + "/" + thin);
  }
  for (const LogicalVolume& volume : found.volumes) {
    if (volume.origin == snap && !volume.is_thin()) found.dependents.push_back(volume.full_name());
  }
  found.origin_users = users_of_origin(found.volumes, origins, found.origin.name, found.snap.pool);
  std::erase_if(found.origin_users, [&](const OriginUser& user) { return user.name == name; });
  return found;
}

std::vector<OriginUser> users_of_origin(const std::vector<LogicalVolume>& volumes,
                                        const std::map<std::string, std::string>& origins,
                                        const std::string& origin, const std::string& pool) {
  std::vector<OriginUser> users;
  for (const LogicalVolume& volume : volumes) {
    const auto found = origins.find(volume.name);
    if (found == origins.end() || found->second != origin || !volume.thin_id) continue;
    users.push_back(
        {static_cast<ThinId>(*volume.thin_id), volume.full_name(), volume.pool == pool});
  }
  return users;
}

std::string volume_of_dm_uuid(const Lvm& lvm, const std::string& uuid) {
  for (const LogicalVolume& volume : lvm.volumes("")) {
    if (volume.dm_uuid() == uuid) return volume.full_name();
  }
  throw Error(MessageId::kNotFound, "LVM knows no volume with the uuid " + uuid,
              "name the volume as VG/LV (lvs)");
}

}  // namespace extmerge
