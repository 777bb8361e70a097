// SPDX-License-Identifier: GPL-3.0-or-later
//
// The chain of a volume: internal snapshots of one another over one external origin. The newest
// one has the state of all of them. With --with, a merge of the newest one gives up the older ones
// that are named: its members. Where a member has no block of its own, it reads the origin, so the
// first write of the merge destroys its contents.

#pragma once

#include <string>
#include <vector>

#include "cli/source/change_record.h"
#include "cli/source/lvm/thin_volume.h"
#include "cli/source/request.h"

namespace extmerge {

// The members that the request names, the newest first. A name that is only in the `recorded`
// members, whose volume is gone, is left out. Throws kUsage, kNotFound, kNotInChain.
std::vector<LogicalVolume> find_members(const ThinVolume& volume, const Request& request,
                                        const std::vector<Member>& recorded);
// Throws kNotInChain if the merge of `volume` must not destroy `member`.
void check_member(const ThinVolume& volume, const LogicalVolume& member);
// Throws kMemberInUse if one of them is active now: a reader would see its contents change.
void check_inactive(const std::vector<LogicalVolume>& members);

// The origin, then its volumes up to `snap`, each a descendant of the one before: as LVM lists
// them, and those whose mappings show the same (`older`, thin ids).
std::vector<std::string> chain_of(const ThinVolume& volume, const std::vector<ThinId>& older);
// Thins over the same origin that may be older than `snap`, and that LVM does not list as parents.
std::vector<ThinId> perhaps_older(const ThinVolume& volume);

}  // namespace extmerge
