// SPDX-License-Identifier: GPL-3.0-or-later
//
// --finish: SNAP is kept inactive, merged once more and removed; then the origin is an ordinary
// volume.

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/source/lvm/chain.h"
#include "cli/source/lvm/rest.h"
#include "cli/source/lvm/volume_source.h"
#include "cli/source/recorded.h"
#include "io/text.h"
#include "persistent-data/devices.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

void VolumeSource::check_finish(bool may_be_open) const {
  if (is_freeze()) {
    throw Error(MessageId::kUsage,
                thin_name() + " is the freeze of " + changes_.thin_name() + ", which is gone",
                copies()
                    ? "copy the freeze without --when-closed: nothing can change it"
                    : "merge the freeze without --finish: extmerge removes it after its merge");
  }
  if (!copies()) check_removable();
  const auto device = find_dm_device(volume_.snap.dm_uuid());
  // udev opens a volume for a moment, too.
  if (may_be_open || !device || closes_soon(*device)) return;
  const std::string unmount =
      "unmount it (findmnt, fuser -v /dev/" + thin_name() + "), then run the same command again";
  if (copies()) throw Error(MessageId::kThinOpen, thin_name() + " is open again", unmount);
  throw Error(MessageId::kThinOpen, thin_name() + " is open, and --finish would remove it",
              unmount + "; or merge it in use and wait until it is closed: --finish --when-closed");
}

void VolumeSource::check_removable() const {
  if (const auto dependents = volume_.dependents(); !dependents.empty()) {
    const std::string& first = dependents.front();
    throw Error(
        MessageId::kThinOpen,
        thin_name() + " is the origin of " + first + ": LVM would remove " + first + " with it",
        "merge or remove " + first + " first, or merge without --finish");
  }
  check_members();
}

void VolumeSource::set_waiting(bool waits) {
  changes_.waiting = waits;
  recorded_.write();
}

bool VolumeSource::close() {
  constexpr unsigned kTries = 5;
  finishing_ = true;
  intents_.keep_thin_inactive();
  for (unsigned i = 1; is_in_use(); ++i) {
    // udev opens a volume for a moment when a program that wrote to it has closed it.
    const auto device = find_dm_device(volume_.snap.dm_uuid());
    if (device && !closes_soon(*device)) return false;
    try {
      intents_.deactivate_thin();
    } catch (const Error& error) {
      if (error.id() == MessageId::kStopped || i == kTries) throw;
      spdlog::info("{}", printable(error.what()));
    }
  }
  return true;
}

void VolumeSource::begin_finish() {
  check_finish(false);  // asking took time
  if (!node_) refuse_other_merge(volume_.origin, use_of_origin());
  if (!is_ours()) {
    // The record is of an earlier merge into the same origin, of another snapshot.
    intents_.put_back({Intent::kThin, Intent::kFreeze}, Intents::Listing::kOld);
    name_record(changes_);
    changes_.freeze_id.reset();
    changes_.merged_id.reset();
    changes_.given_up.clear();
    changes_.rest = {};  // that volume may be the only copy
  }
  finishing_ = true;
  intents_.keep_thin_inactive();
  if (!is_in_use()) return;
  if (copies()) return intents_.deactivate_thin();
  // An active SNAP has LVM's layer below it. The node keeps that layer, so no thin has to be
  // activated for it later.
  intents_.record_origin();
  recorded_.write();
  intents_.mark_origin();
  make_node();
  intents_.deactivate_thin();
}

std::vector<std::optional<VolumeSource::Mappings>> VolumeSource::mappings_of(
    const std::vector<uint64_t>& thin_ids) {
  reserve_mappings();
  const auto device = open_metadata(pool_);
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

Error VolumeSource::was_activated() const {
  return Error(MessageId::kThinOpen,
               thin_name() + " was activated just now: " +
                   (copies() ? "it may have been written to" : "it is not removed"),
               "deactivate it (lvchange -an), and run the same command again");
}

void VolumeSource::refuse_activated() const {
  if (find_dm_device(volume_.snap.dm_uuid())) throw was_activated();
}

// The first write to a block that was frozen moves it.
void VolumeSource::refuse_written() {
  if (!merged_mappings_ || mappings_of({*volume_.snap.thin_id}).front() == merged_mappings_) return;
  throw Error(MessageId::kStale,
              thin_name() + " was written to just now" + (copies() ? "" : ": it is not removed"),
              "keep it inactive, and run the same command again");
}

// There are two volumes with one file system now. The flag stays, so that no boot activates the old
// one.
std::string VolumeSource::retire() {
  refuse_activated();
  refuse_written();
  intents_.put_back({Intent::kFreeze});
  // Until here a failure, a stop or a kill brings SNAP back.
  changes_.thin_kept_inactive = changes_.thin_was_active = false;
  recorded_.write();
  finishing_ = is_to_be_removed_ = keeps_claim_ = false;
  return thin_name() + " stays inactive (to use it again: lvchange -kn -ay " + thin_name() +
         "), and " + target_ + " has its last state";
}

// Relies on the listing of look_again(): no LVM has run since.
std::string VolumeSource::finish() {
  if (copies()) return retire();
  check_finish(false);
  const std::string name = thin_name();
  refuse_activated();
  RestMover mover(request_, lvm_, volume_, recorded_, intents_);
  put_rest_aside(mover);
  if (mover.has_rest()) {
    drop_node();
    mover.hide_origin();
  }
  refuse_activated();
  refuse_written();
  drop_node();
  if (mover.has_rest()) reserve_mappings();
  const LogicalVolume* const freeze = frozen();
  intents_.check_pool_can_be_cleared(freeze);
  // Only volumes that this command names are removed.
  std::erase_if(changes_.given_up, [this](const Member& member) {
    return std::ranges::find(members_, member.uuid, &LogicalVolume::uuid) == members_.end();
  });
  changes_.removing = true;
  recorded_.write();
  // By uuids: a name may be another volume's by now.
  const std::string uuid = volume_.snap.uuid;
  const std::string chosen =
      "(lv_uuid=" + uuid + " && lv_active!=active)" + (freeze ? " || lv_uuid=" + freeze->uuid : "");
  std::optional<Error> failure;
  try {
    // LVM looks whether it is active when it has the group locked, so that nobody can activate it
    // in between. A volume that is not selected is no failure. (LVM 2.03.31 refuses lv_active="",
    // and lvremove of 2.03.16 selects nothing by lv_attr.)
    lvm_.run({"lvremove", "-y", "-S", chosen, volume_.snap.vg},
             "find out which program uses it (fuser -v, lsblk), then run the same command again");
  } catch (const Error& error) {
    failure = error;  // LVM may have removed it all the same
  }
  volume_.list_again(lvm_);
  if (volume_.group.find_by_uuid(uuid)) {
    changes_.removing = false;
    recorded_.write();
    if (failure) throw *failure;  // the destructor puts the rest back
    throw was_activated();
  }
  if (failure) spdlog::warn("{} is removed, but {}", printable(name), printable(failure->what()));
  finishing_ = is_to_be_removed_ = keeps_claim_ = false;
  try {
    return release_all(mover, name);
  } catch (...) {
    if (hold_) hold_->leave();
    throw;
  }
}

// After SNAP is removed.
std::string VolumeSource::release_all(RestMover& mover, const std::string& name) {
  std::vector<std::string> removed = intents_.remove_members();
  removed.insert(removed.begin(), name);
  if (mover.has_rest()) mover.bring_back();
  const std::string outcome = intents_.release_origin();
  mover.complete();
  hold_.reset();
  changes_.removing = changes_.thin_kept_inactive = changes_.thin_was_active = false;
  recorded_.write();
  return some_of(removed) + (removed.size() == 1 ? " is removed; " : " are removed; ") + outcome;
}

void VolumeSource::put_rest_aside(RestMover& mover) {
  intents_.put_back({Intent::kRest});  // of a removal that did not happen (--when-closed)
  const LogicalVolume* const snap = volume_.group.find_by_uuid(volume_.snap.uuid);
  const LogicalVolume* const origin = volume_.group.find_by_uuid(volume_.origin.uuid);
  if (request_.merge.beyond_origin != BeyondOriginChoice::kRefuse || !snap || !origin) return;
  if (snap->size <= origin->size) return;
  // put_aside() lists the group again, and what was found in it is gone then.
  if (!merged_mappings_) merged_mappings_ = mappings_of({*volume_.snap.thin_id}).front();
  ThinVolume now = volume_;
  now.snap = *snap;
  now.origin = *origin;
  now.find_origin_users();
  leave_out_own(now.origin_users);
  mover.put_aside(*open_hidden(now.snap, pool_, {}), judge_rest(now, now.origin_users));
  goes_soon(now.snap.dm_uuid("-extmerge"));  // LVM removes no thin that is open
}

std::string VolumeSource::next_steps() const {
  if (copies()) return {};
  const LogicalVolume* const thin = volume_.group.find_by_uuid(changes_.thin_uuid);
  const bool others = !volume_.origin_users.empty();
  if (!thin) {
    return others ? "" : "to make the origin writable: lvchange -prw " + origin_name();
  }
  const std::string name = thin->full_name();
  std::string members, removed = name;
  for (const LogicalVolume& member : given_up_volumes()) {
    members += (members.empty() ? "--with " : ",") + member.name;
    removed += " " + member.full_name();
  }
  const std::string steps =
      (members.empty()
           ? "the snapshot is still there; to remove it and make the origin writable: "
           : "the snapshot and the volumes that were given up are still there; to remove them and "
             "make the origin writable: ") +
      std::string("extmerge merge --finish ") + members + (members.empty() ? "" : " ") + name;
  // Active, it may hold what was written since it was frozen.
  if (others || is_active_now(*thin)) return steps;
  return steps + ", or by hand, once nothing writes to it: lvremove " + removed +
         " && lvchange -prw " + origin_name();
}

std::optional<CompletedRemoval> complete_removal(const Request& request,
                                                 const std::string& source) {
  if (!has_begun_removal(request)) return {};
  auto found = find_recorded(request, source);
  if (!found || !found->changes.removing) return {};
  lock_recorded(*found);
  SystemChanges& changes = found->changes;
  if (!changes.removing) return {};  // another command has completed it
  const Lvm lvm(request.stop);
  ThinVolume volume = recorded_volume(lvm, changes);
  volume.group.check();
  if (volume.group.find_by_uuid(changes.thin_uuid)) return {};  // killed before it was removed
  if (!volume.group.find_by_uuid(changes.origin_uuid)) {
    // Nothing is left to be completed, and the names may be others' by now.
    changes.removing = false;
    changes.given_up.clear();
    found->write();
    return {};
  }
  Intents intents(request, lvm, volume, *found);
  RestMover mover(request, lvm, volume, *found, intents);
  const std::vector<std::string> removed = intents.remove_members();
  if (mover.has_rest()) {
    intents.put_back({Intent::kCarrier});
    mover.bring_back();
  }
  std::string outcome = intents.release_origin();
  mover.complete();
  if (!removed.empty()) {
    outcome =
        some_of(removed) + (removed.size() == 1 ? " is" : " are") + " removed now; " + outcome;
  }
  if (volume.group.find_pool(changes.pool_uuid) && changes.holding) {
    if (!find_dm_device(changes.pool_uuid)) intents.activate_pool();
    reclaim_metadata_snapshot(*found);
  }
  intents.put_back({Intent::kPool, Intent::kSiblingPools});
  changes.removing = changes.thin_kept_inactive = changes.thin_was_active = false;
  found->write();
  if (volume.group.find(changes.thin)) return {};  // made since, by the same name
  return CompletedRemoval{found->place.path,
                          changes.thin_name() + " was removed already; " + outcome};
}

}  // namespace extmerge
