// SPDX-License-Identifier: GPL-3.0-or-later
//
// Finds the merges recorded in the state directory by the names of their volumes.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/source/change_record.h"
#include "cli/source/lvm/group.h"
#include "cli/source/request.h"

namespace extmerge {

// The recorded group, even if it was renamed. find_freeze() returns the freeze in it, null if that
// is gone.
Group recorded_group(const Lvm& lvm, const SystemChanges& changes);
const LogicalVolume* find_freeze(const Group& group, const SystemChanges& changes);

// Locks the record and reads it again: the command before may have changed it. Throws
// kJournalLocked if the lock is taken, or if another merge has replaced the record.
void lock_recorded(RecordedChanges& recorded);
// All readable records of the state directory.
std::vector<RecordedChanges> all_recorded(const Request& request);
// Whether another extmerge than that of `own` runs, with a record that fits.
bool runs_elsewhere(const Request& request, const JournalPlace& own,
                    const std::function<bool(const SystemChanges&)>& fits);
// The end of a cure, for a command that names a volume: how to resume its unfinished copies, which
// are named by their journals. May be empty.
std::string unfinished_copies(const Request& request, const std::string& thin_uuid);
// The record of a volume's merge, in --journal or the state directory. `name` is "vg/snap" or a
// path of its device; the volume may be gone or renamed. With --journal, an empty name accepts any
// record.
std::optional<RecordedChanges> find_recorded(const Request& request, const std::string& name);
// Whether a record says that a --finish has begun to remove its volume. Runs no LVM.
bool has_begun_removal(const Request& request);

}  // namespace extmerge
