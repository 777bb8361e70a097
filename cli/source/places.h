// SPDX-License-Identifier: GPL-3.0-or-later
//
// Places and locks of journals: in the state directory, or at a path given by the user.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/source/request.h"
#include "merge/job.h"
#include "merge/journal/journal.h"

namespace extmerge {

enum class StateDirectory { kCreate, kAsItIs };

std::string absolute_path(const std::string& path);

// --state-dir, else EXTMERGE_STATE_DIR, else /var/lib/extmerge; absolute.
std::string state_directory(const Request& request);

// The place of an origin's journal: --journal, or in the state directory. kCreate makes a missing
// state directory. A folder named by --journal is never made.
JournalPlace place_of(const Request& request, const std::string& origin_identity,
                      StateDirectory state);
JournalPlace journal_place(std::shared_ptr<DurableDirectory> directory, const std::string& path);

// The place of --undo-log FILE, or of the undo log that a journal names. Its directory is null if
// that does not exist.
JournalPlace undo_log_place(const std::string& path);
// The place of --undo-log, if that option is given.
std::optional<JournalPlace> undo_log_asked(const Request& request);

// The paths of the journal's files, the journal first, whether they exist or not.
std::vector<std::string> files_of_journal(const std::string& path);
// The nearest existing folder at or above `path`.
std::string existing_part(const std::string& path);

// Locks the journal for the lifetime of `place`. Throws kJournalLocked.
void lock_place(JournalPlace& place);
// Locks the journal; merge and resume wait up to ten seconds. So a `plan` at the same time does not
// make them fail. Returns whether it had to wait.
bool lock_place_patiently(JournalPlace& place, const Request& request);

// The journal, without a look at its plan. Null if it or its directory is missing. Throws as
// Journal::open().
std::unique_ptr<Journal> read_journal(const JournalPlace& place);
// A number that changes when extmerge merges into the origin, or undoes that, with its journal in
// the state directory, and when an image is written to.
uint64_t origin_state(const Request& request, const std::string& identity, uint64_t modified);
// The journal at `path`, whole. Throws kNoJournal.
std::unique_ptr<Journal> existing_journal(const std::string& path, const std::stop_token& stop);
Error no_journal(const std::string& path);
// The present path of a recorded device: a device-mapper device is found by its uuid after a
// rename. The recorded path if that fails.
std::string present_path(const JournalDevice& recorded);
// Removes the journal and the change record beside it, durably.
void remove_journal(const JournalPlace& place);
// The same after an abort. The journal of a copy stays: it tells what the target has got.
void give_up_journal(const JournalPlace& place);

// A journal's path with its directory opened. `directory` is null if it does not exist.
struct JournalPath {
  std::shared_ptr<DurableDirectory> directory;
  std::string name;
  std::string path;  // absolute
};
JournalPath open_journal_path(const std::string& path);

}  // namespace extmerge
