// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/metadata_hold.h"

#include <spdlog/spdlog.h>

#include <cerrno>

#include "cli/source/dm/tables.h"
#include "cli/source/recorded.h"
#include "io/error.h"
#include "io/text.h"
#include "persistent-data/devices.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

namespace {

std::string release_command(const ThinPool& pool) {
  return "dmsetup message " + pool.name + " 0 release_metadata_snap";
}

Error held_by_another(const ThinPool& pool, MetadataBlock root) {
  return Error(MessageId::kMetadataSnapshotHeld,
               "the pool " + pool.name + " holds a metadata snapshot already (block " +
                   std::to_string(root.value()) + "), and it is not known to be extmerge's",
               "if a program uses it, wait for that program, or read it with --metadata-snap; if "
               "nobody needs it, release it: " +
                   release_command(pool));
}

// Identifies a metadata snapshot: a block number alone does not, because the pool reuses blocks.
std::string held_identity(const ThinPool& pool, MetadataBlock root) {
  const auto device = open_metadata(pool);
  MetadataReader reader(*device);
  const Superblock held = reader.held_superblock(root);
  std::string text;
  for (const uint64_t number : {root.value(), held.transaction_id, uint64_t{held.time},
                                held.data_mapping_root.value(), held.device_details_root.value()}) {
    text += (text.empty() ? "" : ":") + std::to_string(number);
  }
  return text;
}

std::optional<uint64_t> find_recorded_pool(const SystemChanges& changes) {
  if (!changes.pool_uuid.empty()) return find_dm_device(changes.pool_uuid);
  for (const uint64_t candidate : all_dm_devices()) {
    const auto table = read_dm_table(candidate);
    if (table && table->name == changes.pool) return candidate;
  }
  return {};
}

Error not_active(const RecordedHold& hold) {
  return Error(MessageId::kUnfitPool,
               "a killed run may have left a metadata snapshot in the pool " + hold.pool +
                   ", which is not active",
               "activate that pool and run the same command again");
}

ThinPool recorded_pool(const SystemChanges& changes) {
  if (const auto device = find_recorded_pool(changes)) return find_pool(*device);
  throw not_active(changes);
}

void record_release(RecordedChanges& recorded, RecordedHold& hold) {
  hold.holding = false;
  hold.held.clear();
  recorded.write();
}

// After a failure, which may be one of the record itself.
void record_release_if_possible(RecordedChanges& recorded, RecordedHold& hold) {
  try {
    record_release(recorded, hold);
  } catch (const std::exception&) {
  }
}

void send_release(const ThinPool& pool) {
  const int failure = send_pool_message(pool.device_number, "release_metadata_snap");
  if (failure == 0) return;
  throw Error(MessageId::kUnfitPool,
              "cannot release the metadata snapshot of " + pool.name + ": " + errno_text(failure),
              "release it by hand: " + release_command(pool));
}

// Whether the held root knows the thin with that id, a freeze that only extmerge can have made.
bool knows_thin(const ThinPool& pool, MetadataBlock held_root, ThinId id) {
  const auto device = open_metadata(pool);
  MetadataReader reader(*device);
  return find_device(reader, reader.held_superblock(held_root), id).has_value();
}

}  // namespace

ThinPool find_pool(uint64_t device_number) {
  const auto table = read_dm_table(device_number);
  const auto devices = table ? pool_table(*table) : std::nullopt;
  if (devices) return {device_number, table->name, table->uuid, devices->metadata, devices->data};
  throw Error(MessageId::kUnfitPool, "the pool has no thin-pool table",
              "see dmsetup table; the pool must be active");
}

std::unique_ptr<FileDevice> open_metadata(const ThinPool& pool) {
  return FileDevice::open(facts_of_device(pool.metadata), OpenMode::kReadOnly, Bytes(4096));
}

void check_pool(const ThinPool& pool, const PoolStatus& status) {
  if (status.needs_check) {
    throw Error(MessageId::kNeedsCheck,
                "the pool " + pool.name + " is marked needs_check: its metadata may be wrong",
                "deactivate the pool and repair it: lvconvert --repair VG/POOL (without LVM: "
                "thin_check, thin_repair)");
  }
  if (!status.takes_changes()) {
    throw Error(MessageId::kUnfitPool,
                "the pool " + pool.name + " is in mode '" + status.mode +
                    "' and takes no metadata snapshot",
                "make the pool writable first: see lvs -o +lv_health_status and the kernel's log");
  }
  if (status.used_metadata * 10 > status.total_metadata * 9) {
    throw Error(MessageId::kPoolFull,
                "the metadata of the pool " + pool.name + " is nearly full (" +
                    std::to_string(status.used_metadata) + " of " +
                    std::to_string(status.total_metadata) + " blocks)",
                "extend it first (lvextend --poolmetadatasize +SIZE VG/POOL)");
  }
}

MetadataHold::MetadataHold(ThinPool pool, RecordedChanges& recorded, RecordedHold& hold)
    : pool_(std::move(pool)), recorded_(recorded), hold_(hold) {
  const PoolStatus before = pool_status(pool_.device_number);
  check_pool(pool_, before);
  if (before.held_root) throw held_by_another(pool_, *before.held_root);
  hold_ = {pool_.name, pool_.uuid, true, ""};
  try {
    recorded_.write();
  } catch (...) {
    record_release_if_possible(recorded_, hold_);
    throw;
  }
  const int failure = send_pool_message(pool_.device_number, "reserve_metadata_snap");
  if (failure != 0) {
    record_release(recorded_, hold_);
    if (failure == EBUSY) {
      throw held_by_another(pool_,
                            pool_status(pool_.device_number).held_root.value_or(MetadataBlock(0)));
    }
    throw Error(
        MessageId::kUnfitPool,
        "the pool " + pool_.name + " cannot reserve a metadata snapshot: " + errno_text(failure),
        "see the kernel's log (dmesg)");
  }
  try {
    if (const auto root = pool_status(pool_.device_number).held_root) {
      hold_.held = held_identity(pool_, *root);
    }
    recorded_.write();
  } catch (...) {
    // Release the snapshot now: no record says yet that extmerge reserved it.
    if (send_pool_message(pool_.device_number, "release_metadata_snap") == 0) {
      record_release_if_possible(recorded_, hold_);
    }
    throw;
  }
}

MetadataHold::~MetadataHold() {
  if (is_left_) return;
  try {
    // Another program may have released this metadata snapshot, and another one may be held now.
    const auto root = pool_status(pool_.device_number).held_root;
    if (root && held_identity(pool_, *root) == hold_.held) send_release(pool_);
    record_release(recorded_, hold_);
  } catch (const std::exception& error) {
    spdlog::error("{}", printable(error.what()));
  }
}

bool reclaim_metadata_snapshot(RecordedChanges& recorded) {
  const SystemChanges& changes = recorded.changes;
  if (!changes.holding) return false;
  const ThinPool pool = recorded_pool(changes);
  const auto held = pool_status(pool.device_number).held_root;
  if (held) {
    const bool is_recorded = !changes.held.empty() && held_identity(pool, *held) == changes.held;
    const bool has_freeze = changes.held.empty() && !changes.freeze.empty() && changes.freeze_id &&
                            knows_thin(pool, *held, static_cast<ThinId>(*changes.freeze_id));
    if (!is_recorded && !has_freeze) throw held_by_another(pool, *held);
    spdlog::info("releasing the metadata snapshot that a killed run left in {}",
                 printable(pool.name));
    send_release(pool);
  }
  record_release(recorded, recorded.changes);
  return true;
}

bool reclaim_sibling_snapshot(RecordedChanges& recorded) {
  RecordedHold& hold = recorded.changes.sibling_pool;
  if (!hold.holding) return false;
  const auto device = find_dm_device(hold.pool_uuid);
  if (!device) throw not_active(hold);
  const ThinPool pool = find_pool(*device);
  const auto held = pool_status(*device).held_root;
  if (held && !hold.held.empty() && held_identity(pool, *held) == hold.held) {
    spdlog::info("releasing the metadata snapshot that a killed run left in {}",
                 printable(pool.name));
    send_release(pool);
  }
  record_release(recorded, hold);
  return true;
}

bool give_up_metadata_snapshot(RecordedChanges& recorded) {
  const SystemChanges& changes = recorded.changes;
  try {
    return reclaim_metadata_snapshot(recorded);
  } catch (const Error& error) {
    if (error.id() != MessageId::kUnfitPool || find_recorded_pool(changes)) throw;
    spdlog::warn("{}. If the pool is activated later: dmsetup message {} 0 release_metadata_snap",
                 printable(error.what()), printable(changes.pool));
  }
  record_release(recorded, recorded.changes);
  return true;
}

}  // namespace extmerge
