// SPDX-License-Identifier: GPL-3.0-or-later
//
// A command needs an active pool, and for a moment an active thin over the origin. The command
// deactivates them afterwards; after a kill the next command does.

#include <spdlog/spdlog.h>

#include "cli/source/lvm/volume_source.h"
#include "io/text.h"

namespace extmerge {

// LVM deactivates the pool with its last thin, so the pool is activated by its own name even if a
// thin is active.
void VolumeSource::open_pool() {
  const std::string uuid = volume_.pool.dm_uuid("-tpool");
  const bool is_active = volume_.pool.is_active() && find_dm_device(uuid);
  // No setting forbade an activation that has been made. Only a merge makes LVM load the pool
  // again.
  if (!is_active || !request_.only_looks()) intents_.check_pool_stays_writable();
  if (!is_active) intents_.activate_pool();
  pool_ = find_pool(device_of_pool(volume_.pool));
  const PoolStatus status = pool_status(pool_.device_number);
  check_pool(pool_, status);
  check_transaction(volume_.pool, status);
}

uint64_t VolumeSource::device_of_pool(const LogicalVolume& pool) const {
  if (const auto device = find_dm_device(pool.dm_uuid("-tpool"))) return *device;
  lvm_.check_activation(pool);
  throw Error(MessageId::kUnfitPool, "the pool " + pool.full_name() + " has no device",
              "activate it (lvchange -ay " + pool.full_name() + ")");
}

void VolumeSource::check_transaction(const LogicalVolume& pool, const PoolStatus& status) const {
  if (pool.transaction_id && *pool.transaction_id != status.transaction_id) {
    throw Error(MessageId::kTransactionMismatch,
                "LVM expects the pool " + pool.full_name() + " at transaction " +
                    std::to_string(*pool.transaction_id) + ", the pool is at " +
                    std::to_string(status.transaction_id),
                "run the same command again; if the error stays, an LVM command was interrupted: "
                "restore the matching metadata (vgcfgrestore --list " +
                    volume_.snap.vg +
                    "), or complete that command with lvs or lvchange on the pool");
  }
}

// The record is one an origin; the run that was killed may have been of a snapshot in
// another pool.
void VolumeSource::reclaim_other_pool() {
  if (changes_.pool_uuid.empty() || changes_.pool_uuid == volume_.pool.dm_uuid("-tpool")) return;
  if (volume_.group.find_pool(changes_.pool_uuid)) {
    has_reclaimed_ = reclaim_metadata_snapshot(recorded_);
  }
  intents_.put_back({Intent::kPool});
  changes_.holding = false;  // with a pool that is gone went its metadata snapshot
  changes_.pool_uuid.clear();
  recorded_.write();
}

// Makes LVM put a layer below the origin without showing the origin.
void VolumeSource::open_node(OriginNode::Use use) {
  const auto make_layer = [this] {
    std::optional<Error> failure;
    const auto is_made_by = [&](const LogicalVolume* thin) {
      if (!thin) return false;
      try {
        intents_.activate_carrier(*thin);
      } catch (const Error& error) {
        if (error.id() == MessageId::kStopped) throw;
        spdlog::info("{}", printable(error.what()));
        failure = error;
      }
      return find_dm_device(volume_.origin.dm_uuid("-real")).has_value();
    };
    // The freeze cannot be written to, but a volume_list may not have it.
    if (is_made_by(frozen()) || is_made_by(&volume_.snap)) return;
    lvm_.check_activation(volume_.snap);
    if (failure) throw *failure;
  };
  node_ = std::make_unique<OriginNode>(volume_.origin, use, make_layer);
  intents_.put_back({Intent::kCarrier});
}

void VolumeSource::put_back_activation() {
  try {
    if (changes_.waiting) set_waiting(false);
    std::set<Intent> borrowed = {Intent::kSiblings, Intent::kCarrier, Intent::kOrigin};
    if (finishing_) borrowed.insert(Intent::kThin);
    const auto begun = keeps_claim_ ? intents_.journal() : std::nullopt;
    const bool is_kept_only = keeps_claim_ && !(begun && is_under_way(begun->state));
    if (is_to_be_removed_ || is_kept_only) {
      borrowed.insert({Intent::kMark, Intent::kRest, Intent::kFreeze});
    }
    if (is_kept_only) borrowed.insert(Intent::kThin);
    if (changes_.pool_uuid == volume_.pool.dm_uuid("-tpool")) borrowed.insert(Intent::kPool);
    borrowed.insert(Intent::kSiblingPools);
    // A wait may have taken days.
    const bool is_old = keeps_claim_ || finishing_;
    intents_.put_back(borrowed, is_old ? Intents::Listing::kOld : Intents::Listing::kCurrent);
  } catch (const std::exception& error) {
    spdlog::warn("{}", printable(error.what()));
  }
}

}  // namespace extmerge
