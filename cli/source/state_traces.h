// SPDX-License-Identifier: GPL-3.0-or-later
//
// plan and verify of a named source change nothing, but have to write: a metadata snapshot that
// they reserve and a pool that they activate are recorded first, so that the next command can put
// right what a killed one has left, and the record needs its lock. When such a command ends, the
// state directory is as it was.

#pragma once

#include <optional>
#include <string>

#include "cli/source/change_record.h"
#include "cli/source/request.h"
#include "merge/job.h"

namespace extmerge {

class StateTraces {
 public:
  // To be made before `place` is, and to outlive what writes `changes`; both must outlive it. Does
  // nothing for a command that merges.
  StateTraces(const Request& request, JournalPlace& place, const SystemChanges& changes);
  // Removes or restores record, lock file and folders, if nothing is left to be put right.
  ~StateTraces();
  StateTraces(const StateTraces&) = delete;
  StateTraces& operator=(const StateTraces&) = delete;

  // What the record was when the lock was taken; nothing if there was none.
  // Not called, it keeps the record, whatever that is.
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
  std::string existing_;  // the nearest folder above it that was not
};

}  // namespace extmerge
