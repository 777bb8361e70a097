// SPDX-License-Identifier: GPL-3.0-or-later
//
// The changes of an earlier run are cleared away, undone or given up.

#include <spdlog/spdlog.h>

#include "cli/source/lvm/chain.h"
#include "cli/source/lvm/volume_source.h"
#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "io/text.h"

namespace extmerge {

void VolumeSource::put_back_merge() {
  changes_.waiting = false;
  intents_.put_back_merge();
  if (changes_.holding && pool_failure_) throw *pool_failure_;
}

Source::Earlier VolumeSource::clear_leftovers() {
  if (!has_leftovers()) return Earlier::kNotDone;
  const auto begun = intents_.journal(true);
  if (begun && is_under_way(begun->state)) return Earlier::kNotDone;
  const bool was_freeze = is_freeze();
  if (was_freeze && begun && begun->state == JournalState::kUndone) {
    intents_.put_back({Intent::kMark, Intent::kThin, Intent::kMembers});
    if (request_.command == Command::kAbort) intents_.check_not_only_copy(volume_.snap);
    return Earlier::kNotDone;
  }
  // There is nothing else of it any more: it is to be merged, not cleared away.
  if (was_freeze && !(begun && begun->thin == merged_thin())) {
    if (request_.command == Command::kAbort) intents_.check_not_only_copy(volume_.snap);
    return Earlier::kNotDone;
  }
  // The journal of an earlier round is done as well; it is of another freeze.
  const bool was_done = begun && begun->state == JournalState::kDone && is_ours() &&
                        changes_.freeze_id && begun->thin == merged_thin();
  spdlog::info("clearing away the leftovers of a killed run of {}",
               printable(changes_.thin_name()));
  const bool are_members_lost = may_have_written();
  put_back_merge();
  if (!are_members_lost) intents_.put_back({Intent::kMembers});
  if (!was_freeze) look_at_volumes();
  if (!was_done) return Earlier::kNotDone;
  return was_freeze ? Earlier::kDoneAndGone : Earlier::kDone;
}

Job VolumeSource::undo_job() {
  const auto begun = intents_.journal();
  if (!begun || !is_ours()) {
    throw Error(
        MessageId::kNoJournal,
        "the last merge into " + origin_name() +
            (begun ? " was of " + changes_.thin_name() : " is not known") + ", not of " +
            thin_name(),
        "extmerge status lists the known merges" + unfinished_copies(request_, volume_.snap.uuid));
  }
  // Only the target changes.
  if (copies()) return prepare(static_cast<ThinId>(*volume_.snap.thin_id), ThinUse::kAny);
  check_inactive(given_up_volumes());
  intents_.record_origin();
  recorded_.write();
  try {
    if (!volume_.origin.has_tag(kHalfMergedTag)) {
      intents_.mark_origin();
      intents_.check_mark();
    }
    // The thin may be in use: what it maps of its own, it does not read from the origin.
    return prepare(static_cast<ThinId>(*volume_.snap.thin_id), ThinUse::kAny);
  } catch (const Error& error) {
    throw failed(error);
  }
}

void VolumeSource::undone() {
  hold_.reset();
  drop_node();
  std::vector<std::string> members;  // an earlier merge has destroyed the others
  for (const Member& member : changes_.given_up) {
    if (!member.was_marked) members.push_back(changes_.vg + "/" + member.name);
  }
  std::set<Intent> merged = {Intent::kMark, Intent::kThin, Intent::kMembers};
  if (!is_freeze()) merged.insert(Intent::kFreeze);
  intents_.put_back(merged, Intents::Listing::kOld);
  if (members.empty()) return;
  spdlog::info("{} read{} as before the merge", printable(some_of(members)),
               members.size() == 1 ? "s" : "");
}

void VolumeSource::abort() {
  const bool are_members_lost = may_have_written();
  if (is_ours() || !volume_.group.find_by_uuid(changes_.thin_uuid)) {
    put_back_merge();
  } else if (changes_.origin_marked) {
    throw Error(MessageId::kHalfMerged,
                "the unfinished merge into " + origin_name() + " is of " + changes_.thin_name(),
                "extmerge abort " + changes_.thin_name());
  }
  if (!are_members_lost) intents_.put_back({Intent::kMembers}, Intents::Listing::kOld);
  put_back_activation();
  give_up_journal(place_);
  recorded_.is_removed = !copies();
}

void put_back_recorded(const Request& request, RecordedChanges& recorded) {
  const SystemChanges& changes = recorded.changes;
  lock_recorded(recorded);
  if (!changes.is_of_lvm()) {
    give_up_metadata_snapshot(recorded);
    return;
  }
  const Lvm lvm(request.stop);
  if (changes.removing) {
    throw Error(MessageId::kNothingToResume,
                "the merge of " + changes.thin_name() + " is done and verified, and " +
                    changes.thin_name() + " is removed",
                "make " + changes.origin_name() +
                    " an ordinary volume again: extmerge merge "
                    "--finish " +
                    changes.thin_name());
  }
  ThinVolume volume = recorded_volume(lvm, changes);
  volume.group.check();
  if (volume.group.find_by_uuid(changes.thin_uuid) || find_freeze(volume.group, changes)) {
    throw Error(MessageId::kPathChanged, changes.thin_name() + " or its freeze still exists",
                "name it as LVM does: extmerge abort " + changes.thin_name());
  }
  Intents intents(request, lvm, volume, recorded);
  intents.put_back({Intent::kMark, Intent::kThin, Intent::kFreeze});
  if (volume.group.find_pool(changes.pool_uuid)) reclaim_metadata_snapshot(recorded);
  if (find_dm_device(changes.sibling_pool.pool_uuid)) reclaim_sibling_snapshot(recorded);
  intents.put_back({Intent::kPool, Intent::kSiblingPools});
}

}  // namespace extmerge
