// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/state_traces.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <filesystem>

#include "cli/source/places.h"
#include "io/text.h"
#include "merge/journal/journal.h"

namespace extmerge {

namespace {

// Whether a record is of no use without a journal.
bool says_nothing(const SystemChanges& changes) {
  return !changes.has_lasting() && !changes.is_borrowing() && !changes.removing &&
         !changes.freeze_id && !changes.merged_id && changes.given_up.empty();
}

// The record as it was found, minus the changes that are put back by now.
std::optional<SystemChanges> without_borrowed(std::optional<SystemChanges> record,
                                              bool has_journal) {
  if (!record) return {};
  record->holding = record->origin_activated = false;
  record->held.clear();
  record->carrier.clear();
  record->siblings.clear();
  record->sibling_pool = {};
  record->sibling_pools.clear();
  record->pool_was_active = true;
  if (!has_journal && says_nothing(*record)) return {};
  return record;
}

}  // namespace

StateTraces::StateTraces(const Request& request, JournalPlace& place, const SystemChanges& changes)
    : only_looks_(request.only_looks()), place_(place), changes_(changes) {
  if (!only_looks_ || request.journal) return;
  std::filesystem::path folder = std::filesystem::path(state_directory(request)).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // a slash at the end
  std::error_code ignored;
  if (std::filesystem::exists(folder, ignored)) return;
  folder_ = folder;
  existing_ = existing_part(folder_);
}

StateTraces::~StateTraces() {
  if (!only_looks_) return;
  try {
    if (place_.lock && !changes_.is_borrowing()) restore();
  } catch (const std::exception& error) {
    spdlog::warn("{}", printable(error.what()));
  }
  // rmdir() fails if the folder is not empty.
  while (folder_.size() > existing_.size() && ::rmdir(folder_.c_str()) == 0) {
    folder_ = std::filesystem::path(folder_).parent_path();
  }
}

void StateTraces::restore() {
  DurableDirectory& directory = *place_.directory;
  const bool has_journal = directory.open(place_.name, false) != nullptr;
  const auto now = read_changes(directory, place_.name);
  const auto kept = has_begun_ ? without_borrowed(before_, has_journal) : now;
  if (kept && kept != now) write_changes(directory, place_.name, *kept);
  if (!kept && now) directory.remove(changes_name(place_.name));
  if (kept || has_journal) return;
  // A lock file of extmerge is empty: leave any other file alone.
  const auto lock = directory.open(lock_name(place_.name), false);
  if (lock && lock->size() == Bytes(0)) directory.remove(lock_name(place_.name));
}

}  // namespace extmerge
