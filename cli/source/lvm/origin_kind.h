// SPDX-License-Identifier: GPL-3.0-or-later
//
// The kinds of volumes that can be merged into. The merge writes through the volume's own layer, so
// a raid or a cache stays in step by itself. A kind is refused if LVM or device-mapper cannot load
// its layer again, or if a write would bypass a snapshot of the volume.

#pragma once

#include <string>

#include "cli/source/lvm/group.h"

namespace extmerge {

Error unfit_origin(const LogicalVolume& origin, const std::string& what, const std::string& next);

// Throws kUnfitOrigin for a kind that is not merged into.
void check_origin_kind(const Group& group, const LogicalVolume& origin);

// The state of an active raid or mirror, by the kernel's word.
struct RaidState {
  std::string type;      // as in the table
  std::string health;    // one letter a leg: A, a (not in sync), D (failed)
  bool in_sync = true;   // no leg has old data
  bool is_whole = true;  // enough legs for all data

  // Empty if all legs are well.
  std::string trouble() const;
};
// From the type and the words of the status line (Documentation/admin-guide/device-mapper,
// dm-raid.rst; dm-raid1.c for a mirror). Nothing for another target.
std::optional<RaidState> parse_raid_state(const std::string& type, const std::string& words);
// Asks the device with that number.
std::optional<RaidState> raid_state(uint64_t device_number);

}  // namespace extmerge
