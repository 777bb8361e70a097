// SPDX-License-Identifier: GPL-3.0-or-later
//
// Where journals are: the state directory, a path given by the user, and the lock.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/source/request.h"
#include "merge/job.h"

namespace extmerge {

enum class StateDirectory { kCreate, kAsItIs };

std::string absolute_path(const std::string& path);

// --state-dir, else EXTMERGE_STATE_DIR, else /var/lib/extmerge; absolute.
std::string state_directory(const Request& request);

// The journal of the origin with that identity: --journal, or in the state directory,
// which is made where that is asked for; a folder named by --journal never is.
JournalPlace place_of(const Request& request, const std::string& origin_identity,
                      StateDirectory state);
JournalPlace journal_place(std::shared_ptr<DurableDirectory> directory, const std::string& path);

// Where --undo-log FILE, or the undo log that a journal names, lies. The directory is null if there
// is none.
JournalPlace undo_log_place(const std::string& path);
// --undo-log, if it was given.
std::optional<JournalPlace> undo_log_asked(const Request& request);

// The paths of the journal's files, the journal first, whether they exist or not.
std::vector<std::string> files_of_journal(const std::string& path);
// The nearest folder upwards that exists: what the journal will lie on.
std::string existing_part(const std::string& path);

// Takes the journal's lock, for as long as the place lives. Throws kJournalLocked.
void lock_place(JournalPlace& place);
// Likewise. merge and resume wait some seconds: a `plan` that somebody runs just then is no reason
// to fail.
void lock_place_patiently(JournalPlace& place, const Request& request);

// The journal and what was recorded beside it, gone for good.
void remove_journal(const JournalPlace& place);

// The directory and the file name of a journal's path, opened. Null if the directory
// does not exist.
struct JournalPath {
  std::shared_ptr<DurableDirectory> directory;
  std::string name;
  std::string path;  // absolute
};
JournalPath open_journal_path(const std::string& path);

}  // namespace extmerge
