// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/group.h"

#include <algorithm>
#include <optional>

#include "cli/source/dm/device_mapper.h"
#include "io/error.h"

namespace extmerge {

namespace {

template <typename Predicate>
const LogicalVolume* find_where(const std::vector<LogicalVolume>& volumes,
                                const Predicate& predicate) {
  const auto found = std::find_if(volumes.begin(), volumes.end(), predicate);
  return found == volumes.end() ? nullptr : &*found;
}

}  // namespace

Group Group::with(const Lvm& lvm, const std::string& vg, const std::vector<std::string>& lv_uuids) {
  Group group;
  std::optional<Error> failure;
  try {
    if (!vg.empty()) group = Group(lvm, vg);
  } catch (const Error& error) {
    if (error.id() != MessageId::kGroupAbsent) throw;
    failure = error;
  }
  for (const std::string& uuid : lv_uuids) {
    if (group.find_by_uuid(uuid)) return group;
  }
  for (const std::string& uuid : lv_uuids) {
    const std::string now = uuid.empty() ? "" : lvm.group_of(uuid);
    if (!now.empty()) return Group(lvm, now);
  }
  if (failure) throw *failure;
  return group;
}

const LogicalVolume* Group::find(const std::string& name) const {
  return find_where(volumes_, [&](const LogicalVolume& volume) { return volume.name == name; });
}

const LogicalVolume* Group::find_by_uuid(const std::string& uuid) const {
  return find_where(volumes_, [&](const LogicalVolume& volume) { return volume.uuid == uuid; });
}

const LogicalVolume* Group::find_pool(const std::string& dm_uuid) const {
  return find_where(
      volumes_, [&](const LogicalVolume& volume) { return volume.dm_uuid("-tpool") == dm_uuid; });
}

std::string Group::external_origin(const LogicalVolume& thin) const {
  for (const std::string& name : thin.ancestors) {
    const LogicalVolume* const parent = find(name);
    if (!parent || !parent->is_thin() || parent->pool != thin.pool) return name;
  }
  return {};
}

const LogicalVolume* Group::unclear_parent(const LogicalVolume& thin) const {
  const std::string origin = external_origin(thin);
  for (const std::string& name : thin.ancestors) {
    if (name == origin) break;
    if (const LogicalVolume* const parent = find(name); parent->is_external_origin) return parent;
  }
  return nullptr;
}

std::vector<OriginUser> Group::users_of(const std::string& origin, const std::string& pool) const {
  std::vector<OriginUser> users;
  for (const LogicalVolume& volume : volumes_) {
    if (!volume.is_thin() || !volume.thin_id || external_origin(volume) != origin) continue;
    const bool of_this_pool = volume.pool == pool;
    users.push_back({static_cast<ThinId>(*volume.thin_id), volume.full_name(), of_this_pool,
                     of_this_pool ? "" : volume.pool, volume.dm_uuid()});
  }
  for (const LogicalVolume* const volume : unclear_readers(origin)) {
    users.push_back({static_cast<ThinId>(*volume->thin_id), volume->full_name(), false});
  }
  return users;
}

std::vector<const LogicalVolume*> Group::unclear_readers(const std::string& origin) const {
  const LogicalVolume* const parent = find(origin);
  if (!parent || !parent->is_thin() || !parent->is_external_origin_of_many) return {};
  std::vector<const LogicalVolume*> children;
  for (const LogicalVolume& volume : volumes_) {
    if (!volume.is_thin() || !volume.thin_id || volume.pool != parent->pool) continue;
    if (volume.origin == origin) children.push_back(&volume);
  }
  using Snapshots = LogicalVolume::Snapshots;
  const bool all_are_snapshots = (children.size() == 1 && parent->snapshots == Snapshots::kOne) ||
                                 (children.size() == 2 && parent->snapshots == Snapshots::kMany);
  return all_are_snapshots ? std::vector<const LogicalVolume*>{} : children;
}

void Group::check() const {
  if (volumes_.empty()) return;
  const LogicalVolume& volume = volumes_.front();
  check_group({volume.vg, volume.vg_uuid, volume.vg_shared, volume.vg_exported}, volume.vg_partial);
}

bool is_active_now(const LogicalVolume& volume) {
  return find_dm_device(volume.dm_uuid()).has_value();
}

bool may_hinder_freeze(const LogicalVolume& origin) {
  return origin.is_thin() && is_active_now(origin);
}

bool is_open_now(const LogicalVolume& volume) {
  const auto device = find_dm_device(volume.dm_uuid());
  const auto table = device ? read_dm_table(*device) : std::nullopt;
  return table && table->open_count > 0;
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
