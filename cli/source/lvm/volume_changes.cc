// SPDX-License-Identifier: GPL-3.0-or-later
//
// The changes of a merge in the volume group, and their undoing.

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>

#include "cli/source/devices.h"
#include "cli/source/dm/dm_source.h"
#include "cli/source/lvm/volume_source.h"
#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "io/file_device.h"
#include "io/text.h"
#include "persistent-data/devices.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

namespace {

// The pool of a run that was killed, inactive again if it was.
void put_back_pool(const Lvm& lvm, const std::vector<LogicalVolume>& volumes,
                   const SystemChanges& changes) {
  if (changes.pool_was_active || changes.boot != boot_id()) return;
  if (const LogicalVolume* const pool = find_pool_of(volumes, changes.pool_uuid)) {
    lvm.run({"lvchange", "-an", pool->full_name()}, "deactivate it by hand");
  }
}

// After the journal that is to be begun: the first half of its nonce.
std::string freeze_name(uint64_t nonce) {
  char text[32];
  std::snprintf(text, sizeof text, "extmerge_%08x", static_cast<unsigned>(nonce >> 32));
  return text;
}

void unmark(const Lvm& lvm, const LogicalVolume& origin, const SystemChanges& changes) {
  show_origin(lvm, origin, changes.origin_was_active);
  lvm.run({"lvchange", changes.origin_skipped_activation ? "-ky" : "-kn", "--deltag",
           kHalfMergedTag, origin.full_name()},
          "see lvs -a -o +tags");
}

// Makes the origin of a removed thin writable, unless other thins read it. Returns the outcome.
std::string make_ordinary(const Lvm& lvm, const SystemChanges& changes) {
  const auto volumes = recorded_group(lvm, changes);
  const LogicalVolume* const origin = find_by_uuid(volumes, changes.origin_uuid);
  if (!origin) {
    throw Error(MessageId::kNotFound, "the origin " + changes.origin_name() + " is gone",
                "see lvs -a " + changes.vg);
  }
  std::vector<std::string> users;
  for (const auto& [thin, external_origin] : lvm.external_origins(origin->vg)) {
    if (external_origin == origin->name) users.push_back(thin);
  }
  if (!users.empty()) {
    return origin->full_name() + " stays read-only: " + some_of(users) +
           (users.size() == 1 ? " reads it" : " read it");
  }
  if (!origin->is_writable()) {
    lvm.run({"lvchange", "-prw", origin->full_name()}, "make it writable by hand");
  }
  return origin->full_name() + " is an ordinary volume again, writable" +
         (origin->is_active() ? ""
                              : " once it is active (lvchange -ay " + origin->full_name() + ")");
}

}  // namespace

void VolumeSource::begin_record() {
  if (!is_ours()) release_thin();
  SystemChanges next;
  name_record(next);
  next.pool = changes_.pool;
  next.pool_uuid = changes_.pool_uuid;
  next.pool_was_active = changes_.pool_was_active;
  next.boot = changes_.boot;
  note_origin(next);
  next.thin_kept_inactive = changes_.thin_kept_inactive;
  next.thin_was_active = changes_.thin_was_active;
  if (is_ours()) next.merged_id = merged_id();
  if (!uses_held_snapshot()) {
    place_.nonce = random_nonce();
    next.freeze = freeze_name(*place_.nonce);
  }
  changes_ = next;
  note();
}

// Records the origin's state before it is marked. After a kill the present state is already
// changed.
void VolumeSource::note_origin(SystemChanges& changes) const {
  const LogicalVolume& origin = volume_.origin;
  const bool marked = changes_.origin_marked;
  changes.origin_was_active = marked ? changes_.origin_was_active : origin.is_active();
  changes.origin_skipped_activation =
      marked ? changes_.origin_skipped_activation
             : origin.skips_activation && !origin.has_tag(kHalfMergedTag);
  changes.origin_marked = true;
}

void VolumeSource::freeze() {
  const std::string name = changes_.freeze;
  if (name.empty()) return keep_inactive();
  const std::string name_asked = thin_name();
  try {
    lvm_.run({"lvcreate", "-s", "-ky", "-pr", "-n", name, "--addtag", kFreezeTag, name_asked}, "");
  } catch (const Error& error) {
    if (error.id() == MessageId::kStopped) {
      forget_freeze();
      throw;
    }
    drop_freeze();  // LVM may have made it all the same
    if (is_in_use()) {
      throw Error(MessageId::kLvmRefused,
                  thin_name() + " cannot be frozen: " + std::string(error.what()),
                  "deactivate " + thin_name() + " (lvchange -an) and run the same command again");
    }
    spdlog::info("no freeze, {} is inactive: {}", printable(thin_name()), printable(error.what()));
    return keep_inactive();
  }
  list_again();
  const LogicalVolume* const made = find_volume(volume_.volumes, name);
  if (!made || !made->thin_id) {
    throw Error(MessageId::kLvmRefused, "LVM made " + name + " but does not list it",
                "see lvs -a " + volume_.snap.vg);
  }
  // LVM knows volumes by name only, and the name may be another's since it was looked up.
  if (made->origin != volume_.snap.name || made->pool != volume_.pool.name) {
    throw Error(MessageId::kStale,
                "the volume called " + name_asked + " is not the one that was planned",
                "run the same command again, with the name that the snapshot has now");
  }
  changes_.freeze_uuid = made->uuid;
  changes_.freeze_id = made->thin_id;
  changes_.freeze_transaction = made->transaction_id.value_or(0);
  note();
  spdlog::info("the state to be merged is frozen in {}", printable(made->full_name()));
}

// A stop ended LVM while it waited for the group's lock. LVM has most likely made no freeze, so
// nothing is put back, and the lock is not waited for again.
void VolumeSource::forget_freeze() {
  const auto volumes = lvm_.volumes_unlocked(volume_.snap.vg);
  if (find_volume(volumes, changes_.freeze)) return;
  changes_.freeze.clear();
  changes_.origin_marked = volume_.origin.has_tag(kHalfMergedTag);
  note();
}

void VolumeSource::keep_inactive() {
  if (volume_.snap.skips_activation) return;
  changes_.thin_kept_inactive = true;
  note();
  lvm_.run({"lvchange", "-ky", thin_name()}, "see lvs -a");
}

void VolumeSource::mark_origin() {
  lvm_.run({"lvchange", "-ky", "--addtag", kHalfMergedTag, origin_name()},
           "see lvs -a; nothing was written to the origin");
}

void VolumeSource::drop_freeze() {
  if (changes_.freeze.empty()) return;
  list_again();
  if (const LogicalVolume* const freeze = frozen(); freeze && freeze->has_tag(kFreezeTag)) {
    check_not_only_copy(*freeze);
    check_pool_can_be_cleared(freeze);
    lvm_.run({"lvremove", "-y", freeze->full_name()}, "remove it by hand");
  }
  changes_.freeze.clear();
  changes_.freeze_uuid.clear();
  note();
}

// Where SNAP was removed and not all of it is merged.
void VolumeSource::check_not_only_copy(const LogicalVolume& freeze) const {
  const bool thin_exists = find_by_uuid(volume_.volumes, changes_.thin_uuid) != nullptr;
  const auto begun = journal_state();
  const bool is_merged =
      begun && begun->state == JournalState::kDone && begun->thin == merged_thin();
  if (thin_exists || is_merged) return;
  throw Error(
      MessageId::kHalfMerged,
      changes_.thin_name() + " was removed, and its freeze " + freeze.full_name() +
          " is the only copy of the data that is not merged yet",
      "finish the merge: extmerge " +
          (begun && begun->state == JournalState::kCopying ? "resume " + changes_.thin_name()
                                                           : "merge " + freeze.full_name()) +
          "; to give that data up, remove the freeze by hand first (lvremove)");
}

void VolumeSource::release_thin() {
  if (!changes_.thin_kept_inactive && !changes_.thin_was_active) return;
  list_again();
  if (const LogicalVolume* const thin = find_by_uuid(volume_.volumes, changes_.thin_uuid)) {
    if (changes_.thin_kept_inactive) lvm_.run({"lvchange", "-kn", thin->full_name()}, "see lvs -a");
    if (changes_.thin_was_active && !thin->is_active()) {
      try {
        lvm_.run({"lvchange", "-ay", "-K", thin->full_name()}, "");
      } catch (const Error& error) {
        if (error.id() == MessageId::kStopped) throw;  // the next command does it
        spdlog::warn("{} stays inactive: {}", printable(thin->full_name()),
                     printable(error.what()));
      }
    }
  }
  changes_.thin_kept_inactive = changes_.thin_was_active = false;
  note();
}

void VolumeSource::unmark_origin() {
  if (!changes_.origin_marked) return;
  unmark(lvm_, volume_.origin, changes_);
  changes_.origin_marked = false;
  note();
}

// First what needs no pool, which may be what is wrong.
void VolumeSource::put_back() {
  const LogicalVolume* const left = frozen() && frozen()->has_tag(kFreezeTag) ? frozen() : nullptr;
  if (left) {
    check_not_only_copy(*left);
    check_pool_stays_writable();
  }
  unmark_origin();
  release_thin();
  check_pool_can_be_cleared(left);
  drop_freeze();
  if (changes_.holding && pool_failure_) throw *pool_failure_;
}

bool VolumeSource::settle() {
  if (is_put_back()) return false;
  const auto begun = journal_state(true);
  if (begun && is_under_way(begun->state)) return false;
  const bool was_freeze = is_freeze();
  if (was_freeze && begun && begun->state == JournalState::kUndone) {
    unmark_origin();
    release_thin();
    if (request_.command == Command::kAbort) check_not_only_copy(volume_.snap);
    return false;
  }
  // There is nothing else of it any more: it is to be merged, not cleared away.
  if (was_freeze && !(begun && begun->thin == merged_thin())) {
    if (request_.command == Command::kAbort) check_not_only_copy(volume_.snap);
    return false;
  }
  // The journal of an earlier round is done as well; it is of another freeze.
  const bool was_done = begun && begun->state == JournalState::kDone && is_ours() &&
                        changes_.freeze_id && begun->thin == merged_thin();
  spdlog::info("clearing away the leftovers of a killed run of {}",
               printable(changes_.thin_name()));
  put_back();
  is_gone_ = was_freeze;
  if (!was_freeze) look_at_volumes();
  return was_done;
}

void VolumeSource::check_finish() const {
  if (is_freeze()) {
    throw Error(MessageId::kUsage,
                thin_name() + " is the freeze of " + changes_.thin_name() + ", which is gone",
                "merge it without --finish: it is removed when it is merged");
  }
  if (!volume_.dependents.empty()) {
    throw Error(
        MessageId::kThinOpen,
        thin_name() + " is the origin of " + volume_.dependents.front() + ": LVM would remove " +
            volume_.dependents.front() + " with it",
        "merge or remove " + volume_.dependents.front() + " first, or merge without --finish");
  }
  const auto device = find_dm_device(volume_.snap.dm_uuid());
  if (!device || closes_soon(*device)) return;
  throw Error(MessageId::kThinOpen, thin_name() + " is open, and --finish would remove it",
              "unmount it (findmnt, fuser -v " + path_of_device(*device) +
                  "), then run the same command again");
}

void VolumeSource::begin_finish() {
  look_at_volumes();
  check_finish();  // asking took time
  if (!is_ours()) {
    // The record is of an earlier merge into the same origin, of another snapshot.
    drop_freeze();
    release_thin();
    name_record(changes_);
    changes_.freeze_id.reset();
    changes_.merged_id.reset();
  }
  finishing_ = true;
  if (volume_.snap.is_active()) {
    changes_.thin_was_active = true;
    changes_.boot = boot_id();
  }
  keep_inactive();
  if (!volume_.snap.is_active()) return;
  note();
  lvm_.run({"lvchange", "-an", thin_name()}, "find out who uses it (fuser, lsblk)");
  look_at_volumes();
}

std::vector<std::optional<VolumeSource::Mappings>> VolumeSource::mappings_of(
    const std::vector<uint64_t>& thin_ids) {
  hold_ = std::make_unique<MetadataHold>(pool_, changes_, [this] { note(); });
  const auto device =
      FileDevice::open(at_number(pool_.metadata)(), OpenMode::kReadOnly, Bytes(4096));
  MetadataReader reader(*device);
  const Superblock held = reader.held_superblock(reader.live_superblock().held_root);
  std::vector<std::optional<Mappings>> found;
  for (const uint64_t id : thin_ids) {
    const auto thin = find_device(reader, held, static_cast<ThinId>(id));
    found.push_back(thin ? std::optional(Mappings{thin->mapping_root, thin->mapped_blocks})
                         : std::nullopt);
  }
  hold_.reset();
  return found;
}

bool VolumeSource::is_as_merged() {
  if (find_dm_device(volume_.snap.dm_uuid())) return false;
  if (changes_.freeze.empty()) return true;  // kept inactive, and compared in full
  const auto found = mappings_of({*volume_.snap.thin_id, *changes_.freeze_id});
  if (!found[0] || found[0] != found[1]) return false;
  merged_mappings_ = found[0];
  return true;
}

std::string VolumeSource::finish() {
  look_at_volumes();
  check_finish();
  const std::string name = thin_name();
  if (find_dm_device(volume_.snap.dm_uuid())) {
    throw Error(MessageId::kThinOpen, name + " was activated just now: it is not removed",
                "deactivate it, and run the same command again");
  }
  // Removing the freeze and the marks took time. The first write to a block that was frozen moves
  // it, also when the freeze is gone.
  if (merged_mappings_ && mappings_of({*volume_.snap.thin_id}).front() != merged_mappings_) {
    throw Error(MessageId::kStale, name + " was written to just now: it is not removed",
                "keep it inactive, and run the same command again");
  }
  changes_.removing = true;
  note();
  // By its uuid: a name may be another volume's by now.
  const std::string uuid = volume_.snap.uuid;
  std::optional<Error> failure;
  try {
    // LVM looks whether it is active when it has the group locked, so that nobody can activate it
    // in between. A volume that is not selected is no failure. (LVM 2.03.31 refuses lv_active="",
    // and lvremove of 2.03.16 selects nothing by lv_attr.)
    lvm_.run({"lvremove", "-y", "-S", "lv_uuid=" + uuid + " && lv_active!=active", volume_.snap.vg},
             "find out who uses it, and run the same command again");
  } catch (const Error& error) {
    failure = error;  // LVM may have removed it all the same
  }
  list_again();
  if (find_by_uuid(volume_.volumes, uuid)) {
    changes_.removing = false;
    release_thin();
    note();
    if (failure) throw *failure;
    throw Error(MessageId::kThinOpen, name + " was activated just now: it is not removed",
                "deactivate it, and run the same command again");
  }
  if (failure) spdlog::warn("{} is removed, but {}", printable(name), printable(failure->what()));
  finishing_ = false;
  const std::string outcome = make_ordinary(lvm_, changes_);
  changes_.removing = changes_.thin_kept_inactive = changes_.thin_was_active = false;
  note();
  return name + " is removed; " + outcome;
}

std::string VolumeSource::next_steps() const {
  const auto volumes =
      group_with(lvm_, volume_.origin.vg, {volume_.origin.uuid, changes_.thin_uuid});
  const LogicalVolume* const thin = find_by_uuid(volumes, changes_.thin_uuid);
  const bool others = !volume_.origin_users.empty();
  if (!thin) {
    return others ? "" : "to make the origin writable: lvchange -prw " + origin_name();
  }
  const std::string name = thin->full_name();
  const std::string steps =
      "the snapshot is still there; to remove it and make the origin writable: extmerge merge "
      "--finish " +
      name;
  // Active, it may hold what was written since it was frozen.
  if (others || thin->is_active()) return steps;
  return steps + ", or by hand, once nothing writes to it: lvremove " + name +
         " && lvchange -prw " + origin_name();
}

void VolumeSource::abort() {
  if (is_ours() || !find_by_uuid(volume_.volumes, changes_.thin_uuid)) {
    put_back();
  } else if (changes_.origin_marked) {
    throw Error(MessageId::kHalfMerged,
                "the unfinished merge into " + origin_name() + " is of " + changes_.thin_name(),
                "extmerge abort " + changes_.thin_name());
  }
  put_back_activation();
  remove_journal(place_);
  is_forgotten_ = true;
}

std::optional<CompletedRemoval> complete_removal(const Request& request,
                                                 const std::string& source) {
  auto found = find_recorded(request, source);
  if (!found || !found->changes.removing) return {};
  lock_recorded(*found);
  SystemChanges& changes = found->changes;
  if (!changes.removing) return {};  // another command has completed it
  const JournalPlace& place = found->place;
  const Lvm lvm(request.stop);
  const auto volumes = recorded_group(lvm, changes);
  check_group(volumes);
  if (find_by_uuid(volumes, changes.thin_uuid)) return {};  // killed before it was removed
  if (!find_by_uuid(volumes, changes.origin_uuid)) {
    // Nothing is left to be completed, and the names may be others' by now.
    changes.removing = false;
    write_changes(*place.directory, place.name, changes);
    return {};
  }
  const std::string outcome = make_ordinary(lvm, changes);
  put_back_pool(lvm, volumes, changes);
  changes.removing = changes.thin_kept_inactive = changes.thin_was_active = false;
  changes.pool_was_active = true;
  write_changes(*place.directory, place.name, changes);
  if (find_volume(volumes, changes.thin)) return {};  // made since, by the same name
  return CompletedRemoval{place.path, changes.thin_name() + " was removed already; " + outcome};
}

void put_back_recorded(const Request& request, RecordedChanges& recorded) {
  SystemChanges& changes = recorded.changes;
  lock_recorded(recorded);
  const auto note = [&] { write_changes(*recorded.place.directory, recorded.place.name, changes); };
  if (!changes.is_of_lvm()) {
    give_up_metadata_snapshot(changes, note);
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
  const auto volumes = recorded_group(lvm, changes);
  check_group(volumes);
  if (find_by_uuid(volumes, changes.thin_uuid) || find_freeze(volumes, changes)) {
    throw Error(MessageId::kPathChanged, changes.thin_name() + " or its freeze still exists",
                "name it as LVM does: extmerge abort " + changes.thin_name());
  }
  const LogicalVolume* const origin = find_by_uuid(volumes, changes.origin_uuid);
  if (origin && changes.origin_marked) unmark(lvm, *origin, changes);
  if (find_pool_of(volumes, changes.pool_uuid)) reclaim_metadata_snapshot(changes, note);
  put_back_pool(lvm, volumes, changes);
  changes.origin_marked = changes.thin_kept_inactive = changes.thin_was_active = false;
  changes.pool_was_active = true;
  changes.freeze.clear();
  changes.freeze_uuid.clear();
  note();
}

}  // namespace extmerge
