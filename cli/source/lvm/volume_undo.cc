// SPDX-License-Identifier: GPL-3.0-or-later
//
// The changes of an undo in the volume group, and their undoing.

#include "cli/source/lvm/volume_source.h"

namespace extmerge {

Job VolumeSource::undo_job() {
  const auto begun = journal_state();
  if (!begun || !is_ours()) {
    throw Error(MessageId::kNoJournal,
                "the last merge into " + origin_name() +
                    (begun ? " was of " + changes_.thin_name() : " is not known") + ", not of " +
                    thin_name(),
                "extmerge status lists the known merges");
  }
  if (!changes_.origin_marked) {
    note_origin(changes_);
    note();
  }
  try {
    if (!volume_.origin.has_tag(kHalfMergedTag)) mark_origin();
    // The thin may be in use: what it maps of its own, it does not read from the origin.
    return prepare(static_cast<ThinId>(*volume_.snap.thin_id), ThinUse::kAny);
  } catch (const Error& error) {
    throw failed(error);
  }
}

void VolumeSource::undone() {
  hold_.reset();
  drop_node();
  list_again();
  unmark_origin();
  release_thin();
  if (!is_freeze()) drop_freeze();
}

}  // namespace extmerge
