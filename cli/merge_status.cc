// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/merge_status.h"

#include <algorithm>

#include "cli/open_target.h"

namespace extmerge {

namespace {

// Nothing if there is no journal of that name.
std::optional<MergeStatus> read(DurableDirectory& directory, const std::string& name) {
  const auto journal = Journal::open(directory, name, false, false);
  if (!journal) return {};
  MergeStatus status;
  status.journal = directory.path() + "/" + name;
  status.state = journal->state();
  status.running = directory.is_locked(lock_name(name));
  status.record = journal->record();
  status.progress = journal->progress();
  return status;
}

Error no_journal(const std::string& path) {
  return Error(MessageId::kNoJournal, "there is no journal " + path,
               "extmerge status without a path lists those in the state directory");
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

std::unique_ptr<Journal> open_whole_journal(const std::string& path) {
  const JournalPath place = open_journal_path(path);
  std::unique_ptr<Journal> journal;
  if (place.directory) journal = Journal::open(*place.directory, place.name, false);
  if (!journal) throw no_journal(place.path);
  return journal;
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
