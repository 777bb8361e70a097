// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/intents.h"

#include <spdlog/spdlog.h>

#include "cli/source/lvm/freeze_room.h"
#include "cli/source/lvm/writable_origin.h"
#include "io/sysfs.h"
#include "io/text.h"

namespace extmerge {

std::string boot_id() { return required_text(SystemRoot{}, "/proc/sys/kernel/random/boot_id"); }

ThinVolume recorded_volume(const Lvm& lvm, const SystemChanges& record) {
  ThinVolume volume;
  volume.group = recorded_group(lvm, record);
  volume.snap.vg = record.vg;
  volume.snap.uuid = record.thin_uuid;
  volume.origin.uuid = record.origin_uuid;
  if (const auto* const found = volume.group.find_pool(record.pool_uuid)) volume.pool = *found;
  return volume;
}

namespace {

Error not_as_planned(const std::string& name) {
  return Error(MessageId::kStale,
               name + " is no longer the planned volume: most likely it was renamed or replaced",
               "find the present name of the snapshot (lvs -a -o +origin " +
                   name.substr(0, name.find('/')) +
                   "), and run the same command again with that name");
}

// LVM has failed to make a freeze of an active SNAP.
std::string way_to_freeze(const ThinVolume& volume) {
  if (!has_dm_target("snapshot")) return way_without_snapshot_target(volume.snap);
  if (may_hinder_freeze(volume.origin)) {
    return "deactivate the origin (lvchange -an " + volume.origin.full_name() +
           "), and run the same command again";
  }
  return "deactivate " + volume.snap.full_name() + " (lvchange -an) and run the same command again";
}

}  // namespace

std::optional<Begun> Intents::journal(bool to_act_on_it) const {
  try {
    const auto journal =
        Journal::open(*recorded_.place.directory, recorded_.place.name, to_act_on_it, false);
    if (!journal) return {};
    const MergeRecord& record = journal->record();
    return Begun{journal->state(), {record.thin_id, record.transaction_id}};
  } catch (const Error& error) {
    // --restart replaces a journal that cannot be read. Until then the merge in it counts as
    // unfinished, and as that of another thin.
    const bool is_replaced = is_unreadable_journal(error) && request_.merge.restart &&
                             Journal::is_ours(*recorded_.place.directory, recorded_.place.name);
    if (!is_replaced) throw;
    return Begun{JournalState::kCopying, {static_cast<ThinId>(UINT32_MAX), 0}};
  }
}

std::optional<ThinName> Intents::frozen_thin() const {
  if (!record_.freeze_id) return {};
  return ThinName{static_cast<ThinId>(*record_.freeze_id), record_.freeze_transaction};
}

void Intents::record_origin() {
  const LogicalVolume& origin = volume_.origin;
  if (!record_.origin_marked) {
    record_.origin_was_active = is_active_now(origin);
    record_.origin_skipped_activation = origin.skips_activation && !origin.has_tag(kHalfMergedTag);
  }
  record_.origin_marked = true;
}

// The uuid selects the volume: hours may have passed since the names were listed.
void Intents::change(std::vector<std::string> words, const LogicalVolume& volume,
                     const std::string& next) const {
  words.insert(words.begin(), "lvchange");
  words.insert(words.end(), {"-S", "lv_uuid=" + volume.uuid, volume.vg});
  lvm_.run(words, next);
}

void Intents::mark_origin() {
  change({"-ky", "--addtag", kHalfMergedTag}, volume_.origin,
         "nothing was written to the origin: see lvs -a, then run the same command again");
}

void Intents::keep_thin_inactive() {
  if (volume_.snap.skips_activation) return;
  record_.thin_kept_inactive = true;
  recorded_.write();
  change({"-ky"}, volume_.snap, "see lvs -a");
  volume_.snap.skips_activation = true;
}

void Intents::deactivate_thin() {
  record_.thin_was_active = true;
  record_.boot = boot_id();
  recorded_.write();
  const std::string next = "stop what uses it (fuser -v, lsblk)";
  try {
    change({"-an"}, volume_.snap, next);
  } catch (const Error& error) {
    if (error.id() == MessageId::kStopped || !is_open_now(volume_.snap)) throw;
    throw Error(MessageId::kThinOpen, error.what(), next);
  }
  if (!is_active_now(volume_.snap)) return;
  throw Error(MessageId::kThinOpen, volume_.snap.full_name() + " is still active", next);
}

void Intents::make_freeze() {
  const std::string thin = volume_.snap.full_name();
  std::vector<std::string> words = {"lvcreate", "-s",           "-ky",      "-pr",
                                    "-n",       record_.freeze, "--addtag", kFreezeTag};
  const bool carries = !find_dm_device(volume_.origin.dm_uuid("-real"));
  if (carries) {
    record_.carrier = record_.freeze;  // its uuid is not known yet
    record_.boot = boot_id();
    recorded_.write();
    words.insert(words.end(), {"-K", "-ay"});
  }
  words.push_back(thin);
  try {
    lvm_.run(words, "", carries ? Lvm::Udev::kUntold : Lvm::Udev::kTold);
  } catch (const Error& error) {
    if (error.id() != MessageId::kStopped) return freeze_failed(thin, error);
    forget_freeze();
    throw;
  }
}

void Intents::freeze_failed(const std::string& thin, const Error& error) {
  put_back({Intent::kCarrier, Intent::kFreeze},
           Listing::kOld);  // LVM may have made it all the same
  const std::string name = volume_.snap.full_name();
  if (name != thin || !volume_.group.find_by_uuid(volume_.snap.uuid)) throw not_as_planned(thin);
  if (is_active_now(volume_.snap)) {
    throw Error(MessageId::kLvmRefused, name + " cannot be frozen: " + std::string(error.what()),
                way_to_freeze(volume_));
  }
  spdlog::info("no freeze, {} is inactive: {}", printable(name), printable(error.what()));
  keep_thin_inactive();
}

void Intents::check_mark() {
  const std::string name = volume_.origin.full_name();
  volume_.list_again(lvm_);
  const LogicalVolume* const origin = volume_.group.find_by_uuid(volume_.origin.uuid);
  if (!origin || !origin->has_tag(kHalfMergedTag)) throw not_as_planned(name);
}

void Intents::record_freeze() {
  if (record_.freeze.empty()) return;
  const LogicalVolume* const made = volume_.group.find(record_.freeze);
  if (!made || !made->thin_id) {
    throw Error(MessageId::kLvmRefused, "LVM made " + record_.freeze + " but does not list it",
                "see lvs -a " + volume_.snap.vg);
  }
  // The freeze and SNAP are listed at the same moment, so their names fit together.
  if (made->origin != volume_.snap.name || made->pool != volume_.pool.name) {
    throw not_as_planned(made->vg + "/" + made->origin);
  }
  record_.freeze_uuid = made->uuid;
  if (record_.carrier == record_.freeze) record_.carrier = made->uuid;
  record_.freeze_id = made->thin_id;
  record_.freeze_transaction = made->transaction_id.value_or(0);
  recorded_.write();
  spdlog::info("the state to be {} is frozen in {}", record_.target.empty() ? "merged" : "copied",
               printable(made->full_name()));
}

// A stop ended LVM while it waited for the group's lock. LVM has most likely made no freeze, so
// nothing is put back, and the lock is not waited for again.
void Intents::forget_freeze() {
  const Group group(lvm_.volumes(volume_.snap.vg, false));
  if (group.find(record_.freeze)) return;
  record_.freeze.clear();
  record_.carrier.clear();
  record_.origin_marked = volume_.origin.has_tag(kHalfMergedTag);
  recorded_.write();
}

// udev is not told, but it sees the kernel's own event and links the thin by its UUID for that
// moment: a mount unit that waits for the UUID of an inactive SNAP may mount it.
void Intents::activate_carrier(const LogicalVolume& thin) {
  record_.carrier = thin.uuid;
  record_.boot = boot_id();
  recorded_.write();
  lvm_.run({"lvchange", "-ay", "-K", thin.full_name()}, "", Lvm::Udev::kUntold);
}

void Intents::activate_pool() {
  record_.pool_was_active = false;
  record_.pool_uuid = volume_.pool.dm_uuid("-tpool");
  record_.boot = boot_id();
  recorded_.write();
  lvm_.run({"lvchange", "-ay", volume_.pool.full_name()},
           "see lvs -a and the kernel's log (thin_check may have found damage)");
}

bool Intents::is_made(Intent intent) const {
  switch (intent) {
    case Intent::kSiblings:
      return !record_.siblings.empty();
    case Intent::kMark:
      return record_.origin_marked;
    case Intent::kThin:
      return record_.thin_kept_inactive || record_.thin_was_active;
    case Intent::kMembers:
      return !record_.given_up.empty();
    case Intent::kRest:
      return !record_.rest.name.empty();
    case Intent::kFreeze:
      return !record_.freeze.empty();
    case Intent::kCarrier:
      return !record_.carrier.empty();
    case Intent::kOrigin:
      return record_.origin_activated;
    case Intent::kPool:
      return !record_.pool_was_active;
    case Intent::kSiblingPools:
      return !record_.sibling_pools.empty();
  }
  return false;
}

void Intents::put_back(const std::set<Intent>& which, Listing listing) {
  std::optional<Error> first;
  for (const Intent intent : which) {
    if (!is_made(intent)) continue;
    try {
      if (listing == Listing::kOld) volume_.list_again(lvm_);
      listing = Listing::kCurrent;
      undo(intent);
      recorded_.write();
    } catch (const Error& error) {
      if (first) spdlog::error("{}", printable(error.what()));
      first = first.value_or(error);
    }
  }
  if (first) throw *first;
}

// Where the volume is gone, so is the change.
void Intents::undo(Intent intent) {
  switch (intent) {
    case Intent::kSiblings:
      deactivate_siblings();
      record_.siblings.clear();
      return;
    case Intent::kMark:
      return unmark_origin();
    case Intent::kThin:
      return release_thin();
    case Intent::kMembers:
      return release_members();
    case Intent::kRest:
      return drop_rest();
    case Intent::kFreeze:
      return drop_freeze();
    case Intent::kCarrier:
      deactivate(carrier(), Lvm::Udev::kUntold);
      record_.carrier.clear();
      return;
    case Intent::kOrigin:
      deactivate(volume_.group.find_by_uuid(record_.origin_uuid));
      record_.origin_activated = false;
      return;
    case Intent::kPool:
      if (record_.boot == boot_id()) release_pool();
      record_.pool_was_active = true;
      return;
    case Intent::kSiblingPools:
      for (const std::string& uuid : record_.sibling_pools)
        if (record_.boot == boot_id()) deactivate(volume_.group.find_by_uuid(uuid));
      record_.sibling_pools.clear();
      return;
  }
}

void Intents::unmark_origin(Origin then) {
  if (const LogicalVolume* const origin = volume_.group.find_by_uuid(record_.origin_uuid)) {
    std::vector<std::string> words = {"lvchange"};
    if (record_.origin_marked) {
      show_origin(lvm_, *origin, record_.origin_was_active);
      const std::string skip = record_.origin_skipped_activation ? "-ky" : "-kn";
      words.insert(words.end(), {skip, "--deltag", kHalfMergedTag});
    }
    if (then == Origin::kBecomesWritable && !origin->is_writable()) words.push_back("-prw");
    words.push_back(origin->full_name());
    if (words.size() > 2) lvm_.run(words, "see lvs -a -o +tags, or run that command by hand");
    // A finish deactivates the origin before it is extended.
    if (!record_.rest.name.empty() && record_.origin_was_active && !is_active_now(*origin)) {
      lvm_.run({"lvchange", "-ay", "-K", origin->full_name()}, "see lvs -a");
    }
  }
  record_.origin_marked = false;
}

std::string Intents::release_origin() {
  if (freeze()) {
    put_back({Intent::kFreeze});
    volume_.list_again(lvm_);
  }
  record_.freeze.clear();
  record_.freeze_uuid.clear();
  const LogicalVolume* const origin = volume_.group.find_by_uuid(record_.origin_uuid);
  if (!origin) {
    throw Error(MessageId::kNotFound, "the origin " + record_.origin_name() + " is gone",
                "see lvs -a " + record_.vg);
  }
  std::vector<std::string> users;
  for (const OriginUser& user : volume_.group.users_of(origin->name, "")) {
    users.push_back(user.name.substr(user.name.find('/') + 1));
  }
  if (!users.empty()) {
    unmark_origin();
    return origin->full_name() + " stays read-only: " + some_of(users) +
           (users.size() == 1 ? " reads it" : " read it");
  }
  unmark_origin(Origin::kBecomesWritable);
  return origin->full_name() + " is an ordinary volume again, writable" +
         (is_active_now(*origin) ? ""
                                 : " once it is active (lvchange -ay " + origin->full_name() + ")");
}

void Intents::release_thin() {
  if (const LogicalVolume* const thin = volume_.group.find_by_uuid(record_.thin_uuid)) {
    if (record_.thin_kept_inactive) {
      lvm_.run({"lvchange", "-kn", thin->full_name()}, "see lvs -a");
      if (thin->uuid == volume_.snap.uuid) volume_.snap.skips_activation = false;
    }
    if (record_.thin_was_active && !is_active_now(*thin)) {
      try {
        lvm_.run({"lvchange", "-ay", "-K", thin->full_name()}, "");
      } catch (const Error& error) {
        if (error.id() == MessageId::kStopped) throw;  // the next command does it
        spdlog::warn("{} stays inactive: {}", printable(thin->full_name()),
                     printable(error.what()));
      }
    }
  }
  record_.thin_kept_inactive = record_.thin_was_active = false;
}

// While the thin exists, it is only a copy.
void Intents::drop_rest() {
  const Rest& rest = record_.rest;
  const LogicalVolume* const made =
      rest.uuid.empty() ? volume_.group.find(rest.name) : volume_.group.find_by_uuid(rest.uuid);
  if (made && made->has_tag(kRestTag)) {
    if (!volume_.group.find_by_uuid(record_.thin_uuid)) {
      spdlog::warn("{} stays: {} is gone, and it has what lay past the end of {}",
                   printable(made->full_name()), printable(record_.thin_name()),
                   printable(record_.origin_name()));
      return;
    }
    lvm_.run({"lvremove", "-y", made->full_name()}, "see lsblk, then run the same command again");
  }
  record_.rest = {};
}

void Intents::drop_freeze() {
  if (const LogicalVolume* const made = freeze(); made && made->has_tag(kFreezeTag)) {
    check_not_only_copy(*made);
    check_pool_can_be_cleared(made);
    lvm_.run({"lvremove", "-y", made->full_name()}, "see lsblk, then run the same command again");
  }
  record_.freeze.clear();
  record_.freeze_uuid.clear();
}

// A failure is no reason to stop: somebody may use the volume by now.
void Intents::deactivate(const LogicalVolume* volume, Lvm::Udev udev) const {
  const bool is_there =
      volume && (find_dm_device(volume->dm_uuid()) || find_dm_device(volume->dm_uuid("-tpool")));
  if (!is_there) return;
  const std::string name = present_name(*volume);
  try {
    lvm_.run({"lvchange", "-an", name}, "", udev);
  } catch (const Error& error) {
    if (error.id() == MessageId::kStopped) throw;  // the next command does it
    spdlog::warn("{} stays active: {}", printable(name), printable(error.what()));
  }
}

void Intents::put_back_merge() {
  if (const LogicalVolume* const left = freeze(); left && left->has_tag(kFreezeTag)) {
    check_not_only_copy(*left);
    check_pool_stays_writable();
  }
  put_back({Intent::kMark, Intent::kThin, Intent::kRest, Intent::kFreeze});
  check_pool_can_be_cleared(nullptr);
}

}  // namespace extmerge
