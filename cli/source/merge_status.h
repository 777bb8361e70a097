// SPDX-License-Identifier: GPL-3.0-or-later
//
// The status of merges, read from their journals without disturbing running merges.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "merge/journal/journal.h"

namespace extmerge {

struct MergeStatus {
  std::string journal;  // absolute path
  // Set if the journal cannot be read; nothing below is known then.
  std::optional<Error> damage;

  JournalState state = JournalState::kIntent;
  bool running = false;  // its lock is held
  MergeRecord record;
  JournalProgress progress;
};

// "copying" or "done". A merge whose journal is in place may have written to the origin.
std::string state_text(JournalState state);

// Throws Error(kNoJournal), and as Journal::open() does.
MergeStatus read_status(const std::string& path);

// A journal and its status, both of one moment.
struct WholeJournal {
  MergeStatus status;
  std::unique_ptr<Journal> journal;
};
// The plan can be read only with `pages`, which are then all checked. Throws as read_status().
WholeJournal read_whole(const std::string& path, bool pages);

// All journals in `directory`, by name, including damaged ones.
std::vector<MergeStatus> read_all(DurableDirectory& directory);

}  // namespace extmerge
