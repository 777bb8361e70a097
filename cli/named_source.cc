// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/named_source.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/dm_source.h"
#include "cli/journal_place.h"
#include "cli/printable.h"
#include "cli/volume_source.h"
#include "io/device_facts.h"
#include "io/posix_directory.h"

namespace extmerge {

namespace {

std::unique_ptr<NamedSource> open_path(const Options& options, const std::string& path) {
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
  if (table->uuid.starts_with("LVM-")) {
    const std::string name = volume_of_dm(Lvm(options.stop), *table);
    return std::make_unique<VolumeSource>(options, name);
  }
  return std::make_unique<DmSource>(options, facts.device_number);
}

// The volume by its uuid: it may have been renamed. Or, where it is gone, its freeze.
std::string present_name(const Options& options, const SystemChanges& changes) {
  const auto volumes = recorded_group(Lvm(options.stop), changes);
  if (const auto* const thin = find_by_uuid(volumes, changes.thin_uuid)) return thin->full_name();
  const LogicalVolume* const freeze = find_freeze(volumes, changes);
  return freeze ? freeze->full_name() : changes.thin_name();
}

// Which of several records of the same name is meant: that of a volume that exists, of a
// removal to be completed, of an origin that exists, of a merge under way; in this order.
// `beside` are the volumes of the group that was named; none where it has another name by now.
int rank(const Options& options, const SystemChanges& changes,
         const std::vector<LogicalVolume>& beside) {
  bool thin = false, origin = false;
  if (changes.is_of_lvm()) {
    try {
      const auto volumes = beside.empty() ? recorded_group(Lvm(options.stop), changes) : beside;
      thin = find_by_uuid(volumes, changes.thin_uuid) != nullptr;
      origin = find_by_uuid(volumes, changes.origin_uuid) != nullptr;
    } catch (const Error& error) {  // no such group any more
      if (error.id() == MessageId::kStopped) throw;
    }
  }
  const bool under_way = !changes.is_put_back() || changes.holding;
  return (thin ? 8 : 0) + (changes.removing ? 4 : 0) + (origin ? 2 : 0) + (under_way ? 1 : 0);
}

std::unique_ptr<NamedSource> open_recorded_source(const Options& options,
                                                  const SystemChanges& changes) {
  if (changes.is_of_lvm()) {
    return std::make_unique<VolumeSource>(options, present_name(options, changes));
  }
  return open_path(options, "/dev/mapper/" + changes.thin);
}

// Of the group that a volume's name names; none if there is no such group.
std::vector<LogicalVolume> volumes_beside(const Options& options, const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos || is_path(name)) return {};
  try {
    return Lvm(options.stop).volumes(name.substr(0, slash));
  } catch (const Error& error) {
    if (error.id() == MessageId::kStopped) throw;
    return {};
  }
}

// Whether the record is of the merge of the volume that `name` names; `beside` are all volumes of
// the group named.
bool is_of(const SystemChanges& changes, const std::string& name,
           const std::vector<LogicalVolume>& beside) {
  const std::string lv = name.substr(name.find('/') + 1);
  if (const LogicalVolume* const named = find_volume(beside, lv)) {
    if (changes.thin_uuid == named->uuid) return true;
    // A name that is a volume's now is not that of another that had it before.
    return changes.is_called(name) && !find_by_uuid(beside, changes.thin_uuid);
  }
  // The volume is gone, and its group may have been renamed.
  const bool is_beside = find_by_uuid(beside, changes.origin_uuid) != nullptr;
  return changes.is_called(name) || (is_beside && lv == changes.thin);
}

}  // namespace

void NamedSource::check_finish() const {
  throw Error(MessageId::kUsage, "--finish is for volumes of LVM (VG/SNAP)",
              "remove the thin by hand once the merge is done");
}

std::vector<LogicalVolume> recorded_group(const Lvm& lvm, const SystemChanges& changes) {
  return group_with(lvm, changes.vg, {changes.origin_uuid, changes.thin_uuid});
}

const LogicalVolume* find_freeze(const std::vector<LogicalVolume>& volumes,
                                 const SystemChanges& changes) {
  if (changes.freeze.empty()) return nullptr;
  // Killed just after LVM had made it, a run knew no uuid.
  return changes.freeze_uuid.empty() ? find_volume(volumes, changes.freeze)
                                     : find_by_uuid(volumes, changes.freeze_uuid);
}

std::optional<RecordedChanges> find_recorded(const Options& options, const std::string& name) {
  if (options.journal) {
    const JournalPath path = open_journal_path(*options.journal);
    const auto changes = path.directory ? read_changes(*path.directory, path.name) : std::nullopt;
    if (!changes) return {};
    if (!name.empty() && !is_of(*changes, name, volumes_beside(options, name))) return {};
    return RecordedChanges{journal_place(path.directory, path.path), *changes};
  }
  const std::vector<LogicalVolume> beside = volumes_beside(options, name);
  std::vector<RecordedChanges> found;
  for (RecordedChanges& one : all_recorded(options)) {
    if (is_of(one.changes, name, beside)) found.push_back(std::move(one));
  }
  if (found.empty()) return {};
  if (found.size() == 1) return found.front();
  // Names are used again.
  std::vector<int> ranks;
  for (const RecordedChanges& one : found) ranks.push_back(rank(options, one.changes, beside));
  return found[static_cast<size_t>(std::max_element(ranks.begin(), ranks.end()) - ranks.begin())];
}

void lock_recorded(RecordedChanges& recorded) {
  lock_place(recorded.place);
  const auto now = read_changes(*recorded.place.directory, recorded.place.name);
  const SystemChanges& then = recorded.changes;
  if (!now || now->thin_uuid != then.thin_uuid || now->thin != then.thin ||
      now->freeze != then.freeze) {
    throw Error(MessageId::kJournalLocked,
                changes_name(recorded.place.path) + " was changed by another extmerge just now",
                "run the same command again");
  }
  recorded.changes = *now;
}

std::vector<RecordedChanges> all_recorded(const Options& options) {
  constexpr std::string_view kEnd = ".lvm";
  const std::string folder = state_directory(options);
  const JournalPath probe = open_journal_path(folder + "/x");
  std::vector<RecordedChanges> found;
  if (!probe.directory) return found;
  for (const std::string& file : probe.directory->names()) {
    if (!file.ends_with(kEnd)) continue;
    const std::string journal = file.substr(0, file.size() - kEnd.size());
    try {
      const auto changes = read_changes(*probe.directory, journal);
      if (changes) {
        found.push_back({journal_place(probe.directory, folder + "/" + journal), *changes});
      }
    } catch (const Error& error) {
      // One that cannot be read is nobody else's trouble.
      if (error.id() != MessageId::kDamagedJournal) throw;
      spdlog::warn("{}", printable(error.what()));
    }
  }
  return found;
}

std::unique_ptr<NamedSource> open_named_source(const Options& options) {
  const bool of_record = options.command == Command::kResume || options.command == Command::kUndo ||
                         options.command == Command::kAbort;
  if (!options.source.empty()) {
    if (is_path(options.source)) return open_path(options, options.source);
    if (of_record) {
      if (const auto found = find_recorded(options, options.source)) {
        return open_recorded_source(options, found->changes);
      }
    }
    try {
      return std::make_unique<VolumeSource>(options, options.source);
    } catch (const Error& error) {
      if (error.id() != MessageId::kNotFound) throw;
      const auto found = find_recorded(options, options.source);
      if (!found || found->changes.freeze.empty()) throw;
      const std::string frozen = present_name(options, found->changes);
      throw Error(error.id(), error.what(),
                  "a merge of it is unfinished, and frozen in " + frozen + ": extmerge resume " +
                      options.source + ", or, if it had not begun to copy, extmerge merge " +
                      frozen);
    }
  }
  if (!of_record || !options.journal) return nullptr;
  const JournalPath path = open_journal_path(*options.journal);
  if (!path.directory) return nullptr;
  const auto changes = read_changes(*path.directory, path.name);
  if (!changes) return nullptr;
  return open_recorded_source(options, *changes);
}

}  // namespace extmerge
