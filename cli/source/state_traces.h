// SPDX-License-Identifier: GPL-3.0-or-later
//
// plan and verify of a named source change nothing, but must write a record and its lock. They
// record the metadata snapshot that they reserve and the pool that they activate. So the next
// command can put back what a killed one has left. When such a command ends, the state directory is
// as it was.

#pragma once

#include <optional>
#include <string>

#include "cli/source/change_record.h"
#include "cli/source/request.h"
#include "merge/job.h"

namespace extmerge {

class StateTraces {
 public:
  // Create it before `place` is filled in; it must outlive the writers of `changes`. `place` and
  // `changes` must outlive it. A command that merges is left alone.
  StateTraces(const Request& request, JournalPlace& place, const SystemChanges& changes);
  // Removes or restores record, lock file and folders, unless something must still be put back.
  ~StateTraces();
  StateTraces(const StateTraces&) = delete;
  StateTraces& operator=(const StateTraces&) = delete;

  // `record` is the record when the lock was taken; nothing if there was none. Without this call,
  // the record is kept as it is.
  void begin(const std::optional<SystemChanges>& record) {
    before_ = record;
    has_begun_ = true;
  }

 private:
  void restore();

  const bool only_looks_;
  JournalPlace& place_;
  const SystemChanges& changes_;
  std::optional<SystemChanges> before_;
  bool has_begun_ = false;
  std::string folder_;    // the state directory, if it was missing
  std::string existing_;  // the nearest folder above it that existed
};

}  // namespace extmerge
