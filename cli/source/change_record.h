// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a merge of a volume has changed beside the origin's data, so that a run that
// was killed can be put right by the next: a freeze, a metadata snapshot that is
// held, an origin that was activated and marked. Kept as JSON beside the journal
// (JOURNAL.lvm) and written before each change, durably.

#pragma once

#include <optional>
#include <string>

#include "io/durable_file.h"

namespace extmerge {

struct SystemChanges {
  // Whose: LVM's names and uuids; for a plain device-mapper thin only `thin`, its name.
  std::string vg, thin, thin_uuid, origin, origin_uuid;

  // The freeze, by name; empty if there is none, or none any more.
  std::string freeze;
  // LVM's uuid of it, once that is known: it may be renamed.
  std::string freeze_uuid;
  // The id of the last one, and the pool's transaction in which it was made: ids are used
  // again, and the journal knows the thin by both.
  std::optional<uint64_t> freeze_id;
  uint64_t freeze_transaction = 0;
  // The id of the freeze whose merge was done before that one was begun.
  std::optional<uint64_t> merged_id;

  // The pool that was worked in, as device-mapper knows it; what follows is of that one. A
  // pool that is not LVM's may have no uuid.
  std::string pool, pool_uuid;

  // A metadata snapshot is about to be reserved, or held; what tells it from another, once
  // that is known (held_identity()).
  bool holding = false;
  std::string held;

  // The origin is, or is about to be, tagged, made to skip activation and active.
  bool origin_marked = false;
  // How it was before.
  bool origin_was_active = false;
  bool origin_skipped_activation = false;
  // The origin was activated, read-only, to be compared: by version 0.1.
  bool origin_activated = false;

  // The uuid of the thin that is active for a moment, so that LVM makes the layer below the origin.
  std::string carrier;

  bool pool_was_active = true;
  // The thin was made to skip activation, which it did not before, and was deactivated.
  bool thin_kept_inactive = false;
  bool thin_was_active = false;
  // boot_id when any of these was changed: after a reboot what is active is somebody's wish.
  std::string boot;

  // The thin is about to be removed: the merge is done and verified.
  bool removing = false;

  friend bool operator==(const SystemChanges&, const SystemChanges&) = default;

  // Whether something is, or may be, active or held only for the length of a command.
  bool is_borrowing() const {
    return holding || origin_activated || !pool_was_active || !carrier.empty();
  }
  bool is_put_back() const {
    return !origin_marked && !thin_kept_inactive && !thin_was_active && freeze.empty();
  }
  bool is_of_lvm() const { return !vg.empty(); }
  // Whether `name` names the thin: VG/LV, or a path of its device.
  bool is_called(const std::string& name) const;
  std::string thin_name() const { return is_of_lvm() ? vg + "/" + thin : thin; }
  std::string origin_name() const { return vg + "/" + origin; }
};

// Whether device-mapper has the origin, or the layer below it, writable now; nothing if it has
// neither, or there is no permission to ask.
std::optional<bool> origin_is_writable(const SystemChanges& changes);

std::string changes_name(const std::string& journal_name);  // JOURNAL.lvm

// Nothing if there is none. Throws kJournalUnsafe, kDamagedJournal.
std::optional<SystemChanges> read_changes(DurableDirectory& directory,
                                          const std::string& journal_name);
// Replaces what there was; durable when it returns.
void write_changes(DurableDirectory& directory, const std::string& journal_name,
                   const SystemChanges& changes);

}  // namespace extmerge
