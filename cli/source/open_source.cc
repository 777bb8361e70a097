// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/open_source.h"

#include "cli/source/dm/dm_source.h"
#include "cli/source/lvm/volume_source.h"
#include "cli/source/places.h"
#include "cli/source/plain_source.h"
#include "cli/source/recorded.h"
#include "io/device_facts.h"

namespace extmerge {

namespace {

// The volume of a device-mapper node. LVM is asked about its group only.
std::unique_ptr<Source> open_volume(const Request& request, const DmTable& node) {
  const std::string uuid = lv_uuid_of_node(node.uuid), name = volume_of_node(node.name);
  if (!uuid.empty()) {
    const std::string vg = name.substr(0, name.find('/'));
    const Group group = Group::with(Lvm(request.stop), vg, {uuid});
    const LogicalVolume* const volume = group.find_by_uuid(uuid);
    if (volume && volume->dm_uuid() == node.uuid) {
      return std::make_unique<VolumeSource>(request, volume->full_name(), group);
    }
  }
  throw Error(MessageId::kNotFound, "LVM knows no volume with the uuid " + node.uuid,
              "name the volume as VG/LV (lvs)");
}

std::unique_ptr<Source> open_path(const Request& request, const std::string& path) {
  const DeviceFacts facts = inspect(path);
  if (!facts.exists) {
    throw Error(MessageId::kNotFound, "there is no device " + path,
                "check the name; a volume that is not active is named VG/SNAP");
  }
  const auto table = facts.is_block ? read_dm_table(facts.device_number) : std::nullopt;
  if (!table) {
    throw Error(MessageId::kNotAThin, path + " is no device-mapper device",
                "name a thin's device, a volume as VG/SNAP, or all devices with --metadata, "
                "--data, --thin-id and --origin");
  }
  if (table->uuid.starts_with("LVM-")) return open_volume(request, *table);
  if (request.has("with")) throw with_is_for_volumes();
  return std::make_unique<DmSource>(request, facts.device_number);
}

// The volume's current name, found by its uuid. If the volume is gone, the name of its freeze,
// or its last name in the group of the origin.
std::string present_name(const Group& group, const SystemChanges& changes) {
  if (const auto* const thin = group.find_by_uuid(changes.thin_uuid)) return thin->full_name();
  if (const auto* const freeze = find_freeze(group, changes)) return freeze->full_name();
  const auto* const origin = group.find_by_uuid(changes.origin_uuid);
  return (origin ? origin->vg : changes.vg) + "/" + changes.thin;
}

std::unique_ptr<Source> open_recorded_source(const Request& request, const SystemChanges& changes) {
  if (changes.is_of_lvm()) {
    const Group group = recorded_group(Lvm(request.stop), changes);
    return std::make_unique<VolumeSource>(request, present_name(group, changes), group);
  }
  return open_path(request, "/dev/mapper/" + changes.thin);
}

std::unique_ptr<Source> open_present(const Request& request) {
  if (!request.source.empty()) {
    if (is_path(request.source)) return open_path(request, request.source);
    if (request.is_of_begun_merge()) {
      if (const auto found = find_recorded(request, request.source)) {
        return open_recorded_source(request, found->changes);
      }
    }
    try {
      return std::make_unique<VolumeSource>(request, request.source);
    } catch (const Error& error) {
      if (error.id() != MessageId::kNotFound) throw;
      const auto found = find_recorded(request, request.source);
      if (!found || found->changes.freeze.empty()) throw;
      const Group group = recorded_group(Lvm(request.stop), found->changes);
      const std::string frozen = present_name(group, found->changes);
      throw Error(error.id(), error.what(),
                  "a merge of it is unfinished, and its state is frozen in " + frozen +
                      ": extmerge resume " + request.source +
                      ", or, if the merge had not begun to copy, extmerge merge " + frozen);
    }
  }
  if (!request.is_of_begun_merge()) return std::make_unique<PlainSource>(request);
  const JournalPath path = open_journal_path(*request.journal);
  const auto changes = path.directory ? read_changes(*path.directory, path.name) : std::nullopt;
  if (changes) return open_recorded_source(request, *changes);
  return std::make_unique<PlainSource>(request, *request.journal);
}

}  // namespace

std::unique_ptr<Source> open_source(const Request& request) {
  try {
    return open_present(request);
  } catch (const Error& error) {
    // After `merge --finish` the snapshot is gone, and its origin is an ordinary device.
    if (request.command != Command::kUndo || error.id() != MessageId::kNotFound) throw;
    const auto found = find_recorded(request, request.source);
    if (!found || found->changes.has_lasting()) throw;
    return std::make_unique<PlainSource>(request, found->place.path);
  }
}

}  // namespace extmerge
