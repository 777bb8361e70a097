// SPDX-License-Identifier: GPL-3.0-or-later
//
// The job of a volume, for a merge and for a copy. A copy freezes the volume as a merge does. It
// only reads the origin, and marks nothing.

#include "cli/source/lvm/volume_source.h"
#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "io/text.h"

namespace extmerge {

// The identity of the origin, or of the target.
std::string VolumeSource::destination() {
  const std::string origin = volume_.origin.identity();
  if (!copies()) return origin;
  std::string identity = target_look(target_)().identity;
  if (identity != origin) return identity;
  throw Error(MessageId::kStacked, "the target " + target_ + " is the external origin itself",
              "name another target; to bring the thin's data into its origin, merge it "
              "(extmerge merge)");
}

// A merge of another thin changes what this one shows, and is not done yet.
Refusal VolumeSource::judge_half_merged() const {
  if (!copies() || !volume_.origin.has_tag(kHalfMergedTag)) return {};
  for (const RecordedChanges& recorded : all_recorded(request_)) {
    const SystemChanges& changes = recorded.changes;
    if (changes.target.empty() && changes.origin_marked &&
        changes.origin_uuid == volume_.origin.uuid && changes.thin_uuid == volume_.snap.uuid)
      return {};
  }
  return Error(MessageId::kHalfMerged,
               origin_name() + " is half merged from another snapshot: " + thin_name() +
                   " may show something else when that merge is done",
               "finish that merge first: extmerge status lists it");
}

void VolumeSource::check_record() const {
  if (changes_.origin_uuid != volume_.origin.uuid) {
    throw Error(
        MessageId::kForeignJournal,
        changes_name(place_.path) + " is the record of a " +
            (copies() ? "copy of " + changes_.thin_name() + ", not of " + thin_name()
                      : "merge into " + changes_.origin_name() + ", not into " + origin_name()),
        "name another file with --journal");
  }
}

// A command for a begun copy finds the target in the record. A new copy may follow one of another
// volume, whose leftovers are gone.
void VolumeSource::find_target() {
  if (request_.is_of_begun_merge()) {
    target_ = changes_.target;
    whole_ = changes_.whole;
    if (const auto journal = copies() ? read_journal(place_) : nullptr) {
      target_ = present_path(journal->record().origin);
    }
    return;
  }
  if (!copies()) return;
  if (!changes_.vg.empty() && changes_.target.empty()) {
    throw Error(MessageId::kForeignJournal,
                changes_name(place_.path) + " is the record of a merge, not of a copy",
                "name another file with --journal");
  }
  if (!changes_.has_lasting() && changes_.origin_uuid != volume_.origin.uuid) changes_ = {};
}

// The layer below the origin while a thin over it is active. Otherwise it may belong to another
// copy, and go at any moment.
std::optional<uint64_t> VolumeSource::lasting_layer() const {
  const auto layer = find_dm_device(volume_.origin.dm_uuid("-real"));
  if (!layer || is_in_use()) return layer;
  return copies() || has_node(volume_.origin) ? std::nullopt : layer;
}

// The node that this command has made, or that layer.
DeviceFacts VolumeSource::copied_origin() const {
  if (node_) return node_->facts();
  const auto layer = lasting_layer();
  return layer ? facts_of_device(*layer) : origin_facts();
}

Job VolumeSource::base_job(ThinId id, const Look& origin) {
  const bool is_frozen_one = frozen() && frozen()->thin_id == value(id);
  const Bytes size = is_frozen_one ? frozen()->size : volume_.snap.size;
  std::optional<Job::Copy> copy;
  if (copies()) {
    copy = {copied_origin(), "/dev/" + origin_name(), whole_, volume_.origin.identity()};
  }
  Job job = pool_job(id, size, copy ? target_look(target_) : origin, copy);
  job.origin_path = copy ? target_path(target_) : job.origin.path;
  job.origin_state = [this] { return origin_state(request_, volume_.origin.identity(), 0); };
  if (!copy) {
    origin_pool_ = OriginPool(volume_.group, volume_.origin);
    job.origin_users = volume_.origin_users;
  }
  const auto snap_id = static_cast<ThinId>(volume_.snap.thin_id.value_or(0));
  if (id != snap_id) job.frozen_from = snap_id;
  if (const auto merged = merged_id(); merged && changes_.thin_uuid == volume_.snap.uuid) {
    job.merged_as = static_cast<ThinId>(*merged);
  }
  job.can_be_resumed = is_frozen();
  job.keeps_rest = request_.finish;
  return job;
}

Error VolumeSource::activated() const {
  return Error(MessageId::kThinNotStill,
               thin_name() + " was activated during the " + (copies() ? "copy" : "merge"),
               "deactivate it (lvchange -an), and run the same command again");
}

void VolumeSource::check_pool_room() {
  // Inactive, SNAP makes the freeze cost nothing; without one it has to stay so.
  if (!find_dm_device(volume_.snap.dm_uuid())) return;
  if (changes_.freeze.empty()) throw activated();
  const PoolStatus status = pool_status(pool_.device_number);
  // A pool that has failed or turned read-only is no reason to remove anything.
  if (!status.takes_changes() || !status.is_nearly_full()) return;
  throw Error(MessageId::kPoolFull,
              "the pool " + volume_.pool.full_name() + " is filling up (" +
                  std::to_string(status.free_data()) + " free blocks): the " +
                  (copies() ? "copy" : "merge") + " stops, and its freeze is removed",
              "extend the pool, or deactivate " + thin_name() + ", and run the same command again");
}

}  // namespace extmerge
