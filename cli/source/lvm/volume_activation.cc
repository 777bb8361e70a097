// SPDX-License-Identifier: GPL-3.0-or-later
//
// A command needs an active pool, and for a moment an active thin over the origin. The command
// deactivates them afterwards; after a kill the next command does.

#include <spdlog/spdlog.h>

#include "cli/source/lvm/volume_source.h"
#include "io/sysfs.h"
#include "io/text.h"

namespace extmerge {

std::string boot_id() { return required_text(SystemRoot{}, "/proc/sys/kernel/random/boot_id"); }

// LVM deactivates the pool with its last thin, so the pool is activated by its own name even if a
// thin is active.
void VolumeSource::activate_pool() {
  check_pool_stays_writable();
  const std::string uuid = volume_.pool.dm_uuid("-tpool");
  if (!volume_.pool.is_active()) {
    changes_.pool_was_active = false;
    changes_.pool_uuid = uuid;
    changes_.boot = boot_id();
    note();
    lvm_.run({"lvchange", "-ay", volume_.pool.full_name()},
             "see lvs -a and the kernel's log (thin_check may have found damage)");
  }
  const auto device = find_dm_device(uuid);
  if (!device) {
    const std::string setting = lvm_.activation_hindrance(volume_.pool);
    if (!setting.empty()) throw activation_forbidden(volume_.pool, setting);
    throw Error(MessageId::kUnfitPool, "the pool " + volume_.pool.full_name() + " has no device",
                "activate it (lvchange -ay " + volume_.pool.full_name() + ")");
  }
  pool_ = find_pool(*device);
  const PoolStatus status = pool_status(pool_.device_number);
  check_pool(pool_, status);
  check_transaction(status);
}

// LVM loads a pool again when it is activated, or a thin of it is made or removed. With such a
// setting it loads the pool read-only, fails, and may leave its own metadata a transaction ahead.
void VolumeSource::check_pool_stays_writable() const {
  std::vector<LogicalVolume> parts = {volume_.pool};
  for (const std::string& part : {volume_.pool.data, volume_.pool.metadata}) {
    if (const LogicalVolume* const found = find_volume(volume_.volumes, part)) {
      parts.push_back(*found);
    }
  }
  const std::string setting = lvm_.writing_hindrance(parts);
  if (setting.empty()) return;
  throw Error(MessageId::kActivationForbidden,
              "the pool " + volume_.pool.full_name() +
                  " may only be activated read-only on this "
                  "host: lvm.conf has " +
                  setting,
              "take the pool out of activation/read_only_volume_list, or run extmerge where it may "
              "be written to");
}

void VolumeSource::check_transaction(const PoolStatus& status) const {
  if (volume_.pool.transaction_id && *volume_.pool.transaction_id != status.transaction_id) {
    throw Error(MessageId::kTransactionMismatch,
                "LVM expects the pool " + volume_.pool.full_name() + " at transaction " +
                    std::to_string(*volume_.pool.transaction_id) + ", the pool is at " +
                    std::to_string(status.transaction_id),
                "an operation of LVM was interrupted: restore the matching metadata "
                "(vgcfgrestore --list " +
                    volume_.snap.vg +
                    "), or run an lvs or lvchange of the pool that completes the operation");
  }
}

// A read-only pool removes no thin and releases no metadata snapshot, so LVM is not even asked.
// The record stays, and the same command clears the pool once that works again.
void VolumeSource::check_pool_can_be_cleared(const LogicalVolume* freeze) const {
  const auto device = find_dm_device(volume_.pool.dm_uuid("-tpool"));
  if (!device || (!freeze && !changes_.holding)) return;
  const PoolStatus status = pool_status(*device);
  if (status.takes_changes()) return;
  const std::string left = (freeze ? "the freeze " + freeze->full_name() : "") +
                           (freeze && changes_.holding ? " and " : "") +
                           (changes_.holding ? "a metadata snapshot of extmerge" : "");
  const std::string marks = changes_.origin_marked ? ""
                                                   : ". The marks of " + origin_name() + " and " +
                                                         changes_.thin_name() + " are put back";
  throw Error(MessageId::kUnfitPool,
              "the pool " + volume_.pool.full_name() + " is in mode '" + status.mode +
                  "' and keeps " + left + marks,
              "make the pool writable (lvs -o +lv_health_status, the kernel's log), then run the "
              "same command again: it clears the pool");
}

// The record is one an origin; the run that was killed may have been of a snapshot in
// another pool.
void VolumeSource::settle_other_pool() {
  if (changes_.pool_uuid.empty() || changes_.pool_uuid == volume_.pool.dm_uuid("-tpool")) return;
  if (const LogicalVolume* const other = find_pool_of(volume_.volumes, changes_.pool_uuid)) {
    has_reclaimed_ = reclaim_metadata_snapshot(changes_, [this] { note(); });
    if (!changes_.pool_was_active) {
      lvm_.run({"lvchange", "-an", other->full_name()}, "deactivate it by hand");
    }
  }
  changes_.holding = false;  // with a pool that is gone went its metadata snapshot
  changes_.pool_was_active = true;
  changes_.pool_uuid.clear();
  note();
}

void VolumeSource::settle_activation() {
  if (!changes_.origin_activated) return;
  if (find_dm_device(volume_.origin.dm_uuid())) deactivate(volume_.origin);
  changes_.origin_activated = false;
  note();
}

// Makes LVM put a layer below the origin without showing the origin. LVM makes the
// thin's names past udev, but udev sees the kernel's own event and links the thin by its UUID for
// that moment: a mount unit that waits for the UUID of an inactive SNAP may mount it.
Carrier VolumeSource::carrier() {
  const auto activate_one = [this] {
    std::optional<Error> failure;
    const auto makes_layer = [&](const LogicalVolume* thin) {
      if (!thin) return false;
      changes_.carrier = thin->uuid;
      changes_.boot = boot_id();
      note();
      try {
        lvm_.run_unannounced({"lvchange", "-ay", "-K", thin->full_name()}, "");
      } catch (const Error& error) {
        if (error.id() == MessageId::kStopped) throw;
        spdlog::info("{}", printable(error.what()));
        failure = error;
      }
      return find_dm_device(volume_.origin.dm_uuid("-real")).has_value();
    };
    // The freeze cannot be written to, but a volume_list may not have it.
    if (makes_layer(frozen()) || makes_layer(&volume_.snap)) return;
    check_activation();
    if (failure) throw *failure;
  };
  return {activate_one, [this] { settle_carrier(); }};
}

void VolumeSource::settle_carrier() {
  if (changes_.carrier.empty()) return;
  const LogicalVolume* const thin = find_by_uuid(volume_.volumes, changes_.carrier);
  if (thin && find_dm_device(thin->dm_uuid())) deactivate(*thin, Udev::kUntold);
  changes_.carrier.clear();
  note();
}

void VolumeSource::put_back_activation() {
  try {
    settle_carrier();
    settle_activation();
    if (finishing_) release_thin();
    const bool is_this_pool = changes_.pool_uuid == volume_.pool.dm_uuid("-tpool");
    if (!changes_.pool_was_active && is_this_pool) {
      deactivate(volume_.pool);
      changes_.pool_was_active = true;
      note();
    }
  } catch (const std::exception& error) {
    spdlog::warn("{}", printable(error.what()));
  }
}

// Somebody may use it by now.
void VolumeSource::deactivate(const LogicalVolume& volume, Udev udev) const {
  const std::string name = present_name(volume);
  const std::vector<std::string> words = {"lvchange", "-an", name};
  try {
    udev == Udev::kTold ? lvm_.run(words, "") : lvm_.run_unannounced(words, "");
  } catch (const Error& error) {
    if (error.id() == MessageId::kStopped) throw;  // the next command does it
    spdlog::warn("{} stays active: {}", printable(name), printable(error.what()));
  }
}

}  // namespace extmerge
