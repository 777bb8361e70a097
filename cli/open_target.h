// SPDX-License-Identifier: GPL-3.0-or-later
//
// From names to a MergeTarget: facts about the three devices, who holds the
// origin, where the journal goes. Opens no device.

#pragma once

#include <functional>
#include <string>

#include "cli/journal_place.h"
#include "cli/options.h"
#include "merge/target.h"

namespace extmerge {

// What the system says of a device now.
using Look = std::function<DeviceFacts()>;
Look at_path(const std::string& path);
// Of a device-mapper device, or any other, by its number.
Look at_number(uint64_t device_number);

// Fills in what the system and device-mapper say of the three devices, and the functions
// that open them and look at the origin again.
void look_at_devices(MergeTarget& target, const Look& metadata, const Look& data,
                     const Look& origin);

// --undo-log, if it was given.
void place_undo_log(MergeTarget& target, const Options& options);

// For plan, merge and verify. The state directory is made for merge only; a
// journal's own folder (--journal) never is.
MergeTarget open_target(const Options& options, StateDirectory state_directory);

// For resume and undo: what the journal at `path` records. Throws Error(kNoJournal) and
// what Journal::open() throws.
struct RecordedMerge {
  MergeTarget target;
  BeyondOriginChoice beyond_origin;
};
RecordedMerge open_recorded(const std::string& path);

}  // namespace extmerge
