// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the journals say, read without disturbing the merges that write them.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "merge/journal/journal.h"

namespace extmerge {

struct MergeStatus {
  std::string journal;  // absolute path
  // A journal that cannot be read; nothing below is known then.
  std::optional<Error> damage;

  JournalState state = JournalState::kIntent;
  bool running = false;  // its lock is held
  MergeRecord record;
  JournalProgress progress;
};

// "copying" or "done". One that is in place may have been written from, however little of
// it is durable.
std::string state_text(JournalState state);

// Throws Error(kNoJournal), and what Journal::open() throws.
MergeStatus read_status(const std::string& path);

// Likewise, with the plan, every page of which is checked: both of one moment.
struct WholeJournal {
  MergeStatus status;
  std::unique_ptr<Journal> journal;
};
WholeJournal read_whole(const std::string& path);

// All journals in `directory`, by name. One that is damaged is listed as such.
std::vector<MergeStatus> read_all(DurableDirectory& directory);

}  // namespace extmerge
