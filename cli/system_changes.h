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
  // The id of the last one, and the pool's transaction in which it was made: ids are used
  // again, and the journal knows the thin by both.
  std::optional<uint64_t> freeze_id;
  uint64_t freeze_transaction = 0;

  // A metadata snapshot is about to be reserved, or held; what tells it from another, once
  // that is known (held_identity()).
  bool holding = false;
  std::string held;

  // The origin is, or is about to be, tagged, made to skip activation and active.
  bool origin_marked = false;
  // How it was before.
  bool origin_was_active = false;
  bool origin_skipped_activation = false;
  bool pool_was_active = true;
  std::string
      boot;  // boot_id when the pool was activated: after a reboot nothing is to be put back

  // The thin was made to skip activation, which it did not before.
  bool thin_kept_inactive = false;

  // The thin is about to be removed: the merge is done and verified.
  bool removing = false;

  bool is_put_back() const { return !origin_marked && !thin_kept_inactive && freeze.empty(); }
  bool is_of_lvm() const { return !vg.empty(); }
  std::string thin_name() const { return is_of_lvm() ? vg + "/" + thin : thin; }
  std::string origin_name() const { return vg + "/" + origin; }
};

std::string changes_name(const std::string& journal_name);  // JOURNAL.lvm

// Nothing if there is none. Throws kJournalUnsafe, kDamagedJournal.
std::optional<SystemChanges> read_changes(DurableDirectory& directory,
                                          const std::string& journal_name);
// Replaces what there was; durable when it returns.
void write_changes(DurableDirectory& directory, const std::string& journal_name,
                   const SystemChanges& changes);

}  // namespace extmerge
