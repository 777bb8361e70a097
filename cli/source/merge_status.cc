// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/merge_status.h"

#include <algorithm>

#include "cli/source/places.h"

namespace extmerge {

namespace {

// Its journal is null if it is missing.
WholeJournal read(DurableDirectory& directory, const std::string& name, bool pages) {
  WholeJournal whole;
  whole.journal = Journal::open(directory, name, false, pages);
  if (!whole.journal) return whole;
  whole.status.journal = directory.path() + "/" + name;
  whole.status.state = whole.journal->state();
  whole.status.running = directory.is_locked(lock_name(name));
  whole.status.record = whole.journal->record();
  whole.status.progress = whole.journal->progress();
  return whole;
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

MergeStatus read_status(const std::string& path) { return read_whole(path, false).status; }

WholeJournal read_whole(const std::string& path, bool pages) {
  const JournalPath place = open_journal_path(path);
  WholeJournal whole;
  if (place.directory) whole = read(*place.directory, place.name, pages);
  if (whole.journal) return whole;
  throw Error(MessageId::kNoJournal, "there is no journal " + place.path,
              "extmerge status without a path lists the known journals");
}

std::vector<MergeStatus> read_all(DurableDirectory& directory) {
  std::vector<std::string> names = directory.names();
  std::sort(names.begin(), names.end());
  std::vector<MergeStatus> found;
  for (const std::string& name : names) {
    if (!name.ends_with(".journal")) continue;
    try {
      WholeJournal whole = read(directory, name, false);
      if (whole.journal) found.push_back(std::move(whole.status));
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
