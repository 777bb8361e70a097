// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/recorded.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/source/places.h"
#include "io/text.h"

namespace extmerge {

namespace {

// The rank of a record among several of the same name. In this order: its volume exists, a removal
// is unfinished, its origin exists, its merge is under way. `beside` is the named group; without
// volumes if no group has that name now.
int rank(const Request& request, const SystemChanges& changes, const Group& beside) {
  bool thin = false, origin = false;
  if (changes.is_of_lvm()) {
    try {
      const Group group =
          beside.volumes().empty() ? recorded_group(Lvm(request.stop), changes) : beside;
      thin = group.find_by_uuid(changes.thin_uuid) != nullptr;
      origin = group.find_by_uuid(changes.origin_uuid) != nullptr;
    } catch (const Error& error) {  // the group is gone
      if (error.id() == MessageId::kStopped) throw;
    }
  }
  const bool under_way = changes.has_lasting() || changes.is_holding();
  return (thin ? 8 : 0) + (changes.removing ? 4 : 0) + (origin ? 2 : 0) + (under_way ? 1 : 0);
}

// The group in a volume's name; without volumes if that group is missing.
Group group_beside(const Request& request, const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos || is_path(name)) return {};
  try {
    return Group(Lvm(request.stop), name.substr(0, slash));
  } catch (const Error& error) {
    if (error.id() == MessageId::kStopped) throw;
    return {};
  }
}

// Whether the record belongs to the merge of the volume `name`. `beside` is the named group.
bool is_of(const SystemChanges& changes, const std::string& name, const Group& beside) {
  const std::string lv = name.substr(name.find('/') + 1);
  if (const LogicalVolume* const named = beside.find(lv)) {
    if (changes.thin_uuid == named->uuid) return true;
    // Another volume has the name now. The record still counts, unless its own volume exists under
    // another name.
    return changes.is_called(name) && !beside.find_by_uuid(changes.thin_uuid);
  }
  // The volume is gone, and its group may have been renamed.
  const bool is_beside = beside.find_by_uuid(changes.origin_uuid) != nullptr;
  return changes.is_called(name) || (is_beside && lv == changes.thin);
}

// The record in --journal, or all of the state directory.
std::vector<RecordedChanges> candidates(const Request& request) {
  if (!request.journal) return all_recorded(request);
  const JournalPath path = open_journal_path(*request.journal);
  const auto changes = path.directory ? read_changes(*path.directory, path.name) : std::nullopt;
  if (!changes) return {};
  return {RecordedChanges{journal_place(path.directory, path.path), *changes}};
}

}  // namespace

Group recorded_group(const Lvm& lvm, const SystemChanges& changes) {
  return Group::with(lvm, changes.vg, {changes.origin_uuid, changes.thin_uuid});
}

const LogicalVolume* find_freeze(const Group& group, const SystemChanges& changes) {
  if (changes.freeze.empty()) return nullptr;
  // A run that was killed just after LVM made the freeze did not record its uuid.
  return changes.freeze_uuid.empty() ? group.find(changes.freeze)
                                     : group.find_by_uuid(changes.freeze_uuid);
}

std::optional<RecordedChanges> find_recorded(const Request& request, const std::string& name) {
  std::vector<RecordedChanges> found = candidates(request);
  if (found.empty()) return {};
  const Group beside = group_beside(request, name);
  std::erase_if(found, [&](const auto& one) {
    return !name.empty() && (!one.changes.target.empty() || !is_of(one.changes, name, beside));
  });
  if (found.empty()) return {};
  if (found.size() == 1) return found.front();
  // Several records match, because names are reused.
  std::vector<int> ranks;
  for (const RecordedChanges& one : found) ranks.push_back(rank(request, one.changes, beside));
  return found[static_cast<size_t>(std::max_element(ranks.begin(), ranks.end()) - ranks.begin())];
}

bool has_begun_removal(const Request& request) {
  return std::ranges::any_of(candidates(request),
                             [](const auto& one) { return one.changes.removing; });
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

std::vector<RecordedChanges> all_recorded(const Request& request) {
  constexpr std::string_view kEnd = ".lvm";
  const std::string folder = state_directory(request);
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
      // A damaged record does not stop the others.
      if (error.id() != MessageId::kDamagedJournal) throw;
      spdlog::warn("{}", printable(error.what()));
    }
  }
  return found;
}

bool runs_elsewhere(const Request& request, const JournalPlace& own,
                    const std::function<bool(const SystemChanges&)>& fits) {
  return std::ranges::any_of(all_recorded(request), [&](const RecordedChanges& recorded) {
    const JournalPlace& place = recorded.place;
    return place.name != own.name && fits(recorded.changes) &&
           place.directory->is_locked(lock_name(place.name));
  });
}

std::string unfinished_copies(const Request& request, const std::string& thin_uuid) {
  std::string text;
  for (const RecordedChanges& recorded : all_recorded(request)) {
    const SystemChanges& changes = recorded.changes;
    if (changes.target.empty() || changes.thin_uuid != thin_uuid || !changes.has_lasting())
      continue;
    text += "; its copy to " + changes.target + " is unfinished: extmerge resume " +
            recorded.place.path;
  }
  return text;
}

}  // namespace extmerge
