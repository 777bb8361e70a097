// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/thin_volume.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "io/error.h"

namespace extmerge {

void check_group(const std::vector<LogicalVolume>& volumes) {
  if (volumes.empty()) return;
  const LogicalVolume& volume = volumes.front();
  check_group({volume.vg, volume.vg_uuid, volume.vg_shared, volume.vg_exported}, volume.vg_partial);
}

namespace {

// Check the kind of its segments first: `lvs` also shows the hidden volume below a cache, or the
// parent of a thin, as an origin.
void check_origin_kind(const std::vector<LogicalVolume>& volumes, const LogicalVolume& origin) {
  const auto refuse = [&](const std::string& what) {
    throw Error(MessageId::kUnfitOrigin,
                "the external origin " + origin.full_name() + " is " + what +
                    ", which this version does not write to",
                "copy the snapshot to a new volume instead (docs/lvm.md)");
  };
  for (const LogicalVolume& volume : volumes) {
    if (volume.uuid == origin.uuid && volume.segment_type != "linear" &&
        volume.segment_type != "striped") {
      refuse("a " + volume.segment_type + " volume");
    }
  }
  if (!origin.origin.empty()) refuse("an old-style snapshot of " + origin.origin);
  for (const LogicalVolume& volume : volumes) {
    if (volume.origin == origin.name && !volume.is_thin()) {
      refuse("also the origin of the old-style snapshot " + volume.full_name());
    }
  }
}

// Whether LVM takes `name` as a name of a group or volume, not as an option or a tag.
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
    // `lvcreate -s --thinpool POOL` of a thin of the same pool makes an internal snapshot.
    const bool is_internal = !found.snap.origin.empty();
    throw Error(MessageId::kNotAThin,
                name + " has no external origin" +
                    (is_internal ? ": it is an ordinary snapshot of " + vg + "/" +
                                       found.snap.origin + ", a thin volume of the same pool"
                                 : ""),
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

Error activation_forbidden(const LogicalVolume& volume, const std::string& setting) {
  return Error(MessageId::kActivationForbidden,
               volume.full_name() + " may not be activated on this host: lvm.conf has " + setting,
               "add \"" + volume.full_name() +
                   "\" to activation/volume_list, or run extmerge where "
                   "the volume may be active");
}

std::string volume_of_dm(const Lvm& lvm, const DmTable& node) {
  const std::string uuid = lv_uuid_of_node(node.uuid), name = volume_of_node(node.name);
  if (!uuid.empty()) {
    const auto volumes = group_with(lvm, name.substr(0, name.find('/')), {uuid});
    const LogicalVolume* const volume = find_by_uuid(volumes, uuid);
    if (volume && volume->dm_uuid() == node.uuid) return volume->full_name();
  }
  throw Error(MessageId::kNotFound, "LVM knows no volume with the uuid " + node.uuid,
              "name the volume as VG/LV (lvs)");
}

std::vector<LogicalVolume> group_with(const Lvm& lvm, const std::string& vg,
                                      const std::vector<std::string>& lv_uuids) {
  std::vector<LogicalVolume> volumes;
  std::optional<Error> failure;
  try {
    if (!vg.empty()) volumes = lvm.volumes(vg);
  } catch (const Error& error) {
    if (error.id() != MessageId::kGroupAbsent) throw;
    failure = error;
  }
  for (const std::string& uuid : lv_uuids) {
    if (find_by_uuid(volumes, uuid)) return volumes;
  }
  for (const std::string& uuid : lv_uuids) {
    const std::string now = uuid.empty() ? "" : lvm.group_of(uuid);
    if (!now.empty()) return lvm.volumes(now);
  }
  if (failure) throw *failure;
  return volumes;
}

std::string present_name(const LogicalVolume& volume) {
  for (const char* layer : {"", "-tpool", "-real"}) {
    const auto device = find_dm_device(volume.dm_uuid(layer));
    const auto table = device ? read_dm_table(*device) : std::nullopt;
    const std::string name = table ? volume_of_node(table->name) : "";
    if (!name.empty()) return name;
  }
  return volume.full_name();
}

}  // namespace extmerge
