// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/merge_status.h"

#include <algorithm>

#include "cli/source/devices.h"
#include "cli/source/places.h"

namespace extmerge {

namespace {

MergeStatus status_of(const Journal& journal, const std::string& path, bool running) {
  MergeStatus status;
  status.journal = path;
  status.state = journal.state();
  status.running = running;
  status.record = journal.record();
  status.progress = journal.progress();
  return status;
}

// Nothing if the journal is missing.
std::optional<MergeStatus> read(DurableDirectory& directory, const std::string& name) {
  const auto journal = Journal::open(directory, name, false, false);
  if (!journal) return {};
  return status_of(*journal, directory.path() + "/" + name, directory.is_locked(lock_name(name)));
}

Error no_journal(const std::string& path) {
  return Error(MessageId::kNoJournal, "there is no journal " + path,
               "extmerge status without a path lists the known journals");
}

}  // namespace

std::string state_text(JournalState state) {
  switch (state) {
    case JournalState::kDone:
      return "done";
    case JournalState::kUndoing:
      return "undoing";
    case JournalState::kUndone:
      return "undone";
    default:
      return "copying";
  }
}

MergeStatus read_status(const std::string& path) {
  const JournalPath place = open_journal_path(path);
  if (place.directory) {
    if (const auto status = read(*place.directory, place.name)) return *status;
  }
  throw no_journal(place.path);
}

WholeJournal read_whole(const std::string& path) {
  const JournalPath place = open_journal_path(path);
  WholeJournal whole;
  if (place.directory) whole.journal = Journal::open(*place.directory, place.name, false);
  if (!whole.journal) throw no_journal(place.path);
  whole.status =
      status_of(*whole.journal, place.path, place.directory->is_locked(lock_name(place.name)));
  return whole;
}

std::vector<MergeStatus> read_all(DurableDirectory& directory) {
  std::vector<std::string> names = directory.names();
  std::sort(names.begin(), names.end());
  std::vector<MergeStatus> found;
  for (const std::string& name : names) {
    if (!name.ends_with(".journal")) continue;
    try {
      if (auto status = read(directory, name)) found.push_back(std::move(*status));
    } catch (const Error& error) {
      if (error.exit_status() != 6) throw;
      MergeStatus status;
      status.journal = directory.path() + "/" + name;
      status.damage = error;
      found.push_back(std::move(status));
    }
  }
  return found;
}

}  // namespace extmerge
