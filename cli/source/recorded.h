// SPDX-License-Identifier: GPL-3.0-or-later
//
// The merges that are recorded in the state directory, found by the names of their volumes.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/source/change_record.h"
#include "cli/source/lvm/lvm.h"
#include "cli/source/request.h"
#include "merge/job.h"

namespace extmerge {

// Every volume of the group that the record is of, whatever it is called now; and among them the
// freeze, null if it is gone.
std::vector<LogicalVolume> recorded_group(const Lvm& lvm, const SystemChanges& changes);
const LogicalVolume* find_freeze(const std::vector<LogicalVolume>& volumes,
                                 const SystemChanges& changes);

struct RecordedChanges {
  JournalPlace place;
  SystemChanges changes;
};
// Takes the record's lock and reads the record again: a command that had the lock may have changed
// it. Throws kJournalLocked, also if it is the record of another merge by now.
void lock_recorded(RecordedChanges& recorded);
// All in the state directory that can be read.
std::vector<RecordedChanges> all_recorded(const Request& request);
// The record of a merge of that volume ("vg/snap", a path of its device; also one that is
// gone or was renamed), in --journal or the state directory. With --journal and no name:
// whatever is recorded beside that.
std::optional<RecordedChanges> find_recorded(const Request& request, const std::string& name);

}  // namespace extmerge
