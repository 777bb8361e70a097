// SPDX-License-Identifier: GPL-3.0-or-later
//
// The record of what a merge of a named source has changed beside the origin's data: a freeze, a
// held metadata snapshot, an origin that is activated and marked. With it, the next run can put
// back the changes of a killed run. The record is JSON beside the journal (JOURNAL.lvm), and
// durable before each change.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/durable_file.h"
#include "merge/job.h"

namespace extmerge {

// An older volume of the chain, whose contents a merge destroys (--with).
struct Member {
  std::string name, uuid;
  // Its state before: whether an earlier merge had marked it, and its activation skip.
  bool was_marked = false;
  bool skipped_activation = false;

  friend bool operator==(const Member&, const Member&) = default;
};

// The data of a snapshot past the end of its origin, kept in a volume for a time
// (cli/source/lvm/rest.h).
struct Rest {
  std::string name, uuid;  // of that volume; empty if there is none
  uint64_t from = 0;       // the end of the origin, in bytes
  uint64_t length = 0;     // in bytes
  bool is_whole = false;   // copied, durable and compared; and not yet back on the origin
  // The name of the thin over the extended origin that makes LVM put a layer below it.
  std::string carrier;

  friend bool operator==(const Rest&, const Rest&) = default;
};

// A metadata snapshot in a pool.
struct RecordedHold {
  // Device-mapper's name and uuid of the pool. A pool that is not LVM's may have no uuid.
  std::string pool, pool_uuid;
  // A metadata snapshot is held or about to be reserved. `held` identifies it (held_identity()),
  // once that is known.
  bool holding = false;
  std::string held;

  friend bool operator==(const RecordedHold&, const RecordedHold&) = default;
};

// The base is the pool of the merge, which most members below belong to.
struct SystemChanges : RecordedHold {
  // LVM's names and uuids of thin and origin. For a plain device-mapper thin only `thin`, its name.
  std::string vg, thin, thin_uuid, origin, origin_uuid;
  // A copy has the path of its target here, and whether all that the thin shows is copied. Empty
  // for a merge.
  std::string target;
  bool whole = false;

  // The name of the freeze; empty if there is none now.
  std::string freeze;
  // LVM's uuid of the freeze, once it is known: a user may rename the freeze.
  std::string freeze_uuid;
  // The thin id of the last freeze, and the pool's transaction in which it was made. The journal
  // knows the thin by both, because the pool reuses ids.
  std::optional<uint64_t> freeze_id;
  uint64_t freeze_transaction = 0;
  // The thin id of the freeze before, whose merge is done.
  std::optional<uint64_t> merged_id;

  // The origin is tagged, has its activation skip set and is active, or will be soon.
  bool origin_marked = false;
  // The origin's state before.
  bool origin_was_active = false;
  bool origin_skipped_activation = false;
  // Version 0.1 activated the origin, read-only, to compare it.
  bool origin_activated = false;

  // The uuid of the thin that is activated for a moment, so that LVM makes the layer below the
  // origin.
  std::string carrier;

  // The uuids of siblings that are activated while they get their own copies of blocks.
  std::vector<std::string> siblings;
  // The metadata snapshot of another pool that has siblings, and the uuids of such pools that are
  // activated for the length of the command.
  RecordedHold sibling_pool;
  std::vector<std::string> sibling_pools;

  bool pool_was_active = true;
  // The merge set the thin's activation skip, which was not set before, and deactivated the thin.
  bool thin_kept_inactive = false;
  bool thin_was_active = false;
  // boot_id of the last change of these: after a reboot, active devices were activated by another
  // program.
  std::string boot;

  // The volumes that the merge destroys. They stay here until they are removed or the merge is
  // undone. `removing` is about all of them, too.
  std::vector<Member> given_up;

  // Only from the end of a finish until the origin has it.
  Rest rest;

  // All is merged and compared, and the thin may be closed (--when-closed). Only while a run waits.
  bool waiting = false;

  // The thin is about to be removed: the merge is done and verified.
  bool removing = false;

  friend bool operator==(const SystemChanges&, const SystemChanges&) = default;

  // Whether something is, or may be, active or held only for the length of a command.
  bool is_borrowing() const {
    return is_holding() || origin_activated || !pool_was_active || !carrier.empty() ||
           !siblings.empty() || !sibling_pools.empty();
  }
  bool is_holding() const { return holding || sibling_pool.holding; }
  // Whether something is changed that outlives a command.
  bool has_lasting() const {
    return origin_marked || thin_kept_inactive || thin_was_active || !freeze.empty() ||
           !rest.name.empty();
  }
  bool is_of_lvm() const { return !vg.empty(); }
  // Whether `name` names the thin: VG/LV, or a path of its device.
  bool is_called(const std::string& name) const;
  std::string thin_name() const { return is_of_lvm() ? vg + "/" + thin : thin; }
  std::string origin_name() const { return vg + "/" + origin; }
  // VG/LV of each, as they were called then.
  std::vector<std::string> given_up_names() const;
};

// Whether device-mapper has the origin, or the layer below it, writable now. Nothing if both are
// missing, or this user has no permission to ask.
std::optional<bool> origin_is_writable(const SystemChanges& changes);

std::string changes_name(const std::string& journal_name);  // JOURNAL.lvm

// Nothing if there is no record. Throws kJournalUnsafe, kDamagedJournal.
std::optional<SystemChanges> read_changes(DurableDirectory& directory,
                                          const std::string& journal_name);
// Replaces the record. The new one is durable on return.
void write_changes(DurableDirectory& directory, const std::string& journal_name,
                   const SystemChanges& changes);

// The record of one merge, and its place.
struct RecordedChanges {
  JournalPlace place;
  SystemChanges changes;
  bool is_removed = false;  // for good, with its journal

  // Makes the changes durable, unless the record is removed.
  void write() const;
};

}  // namespace extmerge
