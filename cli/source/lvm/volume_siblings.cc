// SPDX-License-Identifier: GPL-3.0-or-later
//
// --keep-siblings: the siblings that get their own copies of blocks.
//
//   sibling                          written through
//   inactive, writable               its own node, activated for that time and claimed: another
//                                    program cannot mount it
//   inactive or active, read-only    a hidden node of the same thin: LVM's node takes no writes
//   active, suspended                the same
//   active and writable              refused: a write of another program could be lost

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>

#include "cli/source/lvm/volume_source.h"
#include "io/text.h"

namespace extmerge {

namespace {

bool can_be_written(const LogicalVolume& sibling) {
  const auto device = find_dm_device(sibling.dm_uuid());
  const auto table = device ? read_dm_table(*device) : std::nullopt;
  return table && !table->read_only;
}

Error is_writable(const LogicalVolume& sibling) {
  const std::string name = sibling.full_name();
  return Error(MessageId::kSharedOrigin,
               name +
                   " would change, and it is active: a write of another program could be lost "
                   "while it gets its own copies",
               "deactivate it (lvchange -an " + name + ") or make it read-only (lvchange -pr " +
                   name + "), and run the same command again");
}

// Throws if the pool cannot take many more copies.
void check_room(const ThinPool& pool) {
  const PoolStatus status = pool_status(pool.device_number);
  check_pool(pool, status);
  if (!status.is_nearly_full()) return;
  throw Error(MessageId::kPoolFull,
              "the pool " + pool.name + " is filling up (" + std::to_string(status.free_data()) +
                  " free blocks): nothing was written to the origin",
              "extend the pool, and run the same command again: it copies the rest");
}

std::string room_text(uint64_t blocks, const std::string& pool, uint64_t free) {
  return "the siblings get their own copies of " + std::to_string(blocks) + " blocks of the pool " +
         pool + "; " + std::to_string(free) + " are free";
}

}  // namespace

PoolDevices VolumeSource::reserve_pool(const std::string& name) {
  const LogicalVolume* const pool = volume_.group.find(name);
  if (!pool) {
    throw Error(MessageId::kStale, "the pool " + name + " was removed or renamed just now",
                "run the same command again");
  }
  reclaim_sibling_snapshot(recorded_);
  const ThinPool found = open_sibling_pool(*pool);
  check_transaction(*pool, pool_status(found.device_number));
  const PoolDevices devices{facts_of_device(found.metadata), facts_of_device(found.data)};
  // Two plans may wait for each other's pool.
  constexpr std::chrono::seconds kPatience{5};
  sibling_hold_ = hold_mappings(found, changes_.sibling_pool, kPatience);
  return devices;
}

ThinPool VolumeSource::open_sibling_pool(const LogicalVolume& pool) {
  if (!find_dm_device(pool.dm_uuid("-tpool"))) intents_.activate_sibling_pool(pool);
  return find_pool(device_of_pool(pool));
}

// A pool that cannot be activated keeps its metadata snapshot, and the record keeps it in mind.
void VolumeSource::reclaim_sibling_pool() {
  RecordedHold& hold = changes_.sibling_pool;
  if (!hold.holding) return;
  const LogicalVolume* const pool = volume_.group.find_pool(hold.pool_uuid);
  if (!pool) {
    hold = {};  // with a pool that is gone went its metadata snapshot
    recorded_.write();
    return;
  }
  try {
    open_sibling_pool(*pool);
    has_reclaimed_ |= reclaim_sibling_snapshot(recorded_);
  } catch (const Error& error) {
    if (error.id() == MessageId::kStopped) throw;
    spdlog::warn("{}", printable(error.what()));
  }
}

void VolumeSource::clear_sibling_nodes() const {
  for (const LogicalVolume& volume : volume_.group.volumes()) {
    if (!volume.is_thin()) continue;
    const auto left = find_dm_device(volume.dm_uuid("-extmerge"));
    if (left) remove_dm_device(*left, UdevStep(volume.dm_uuid()));
  }
}

void VolumeSource::judge_siblings(PlanReport& report) const {
  if (!request_.merge.overrides.keep_siblings || report.nothing_new) return;
  std::map<std::string, uint64_t> blocks;  // by pool
  for (const Sibling& sibling : report.siblings) {
    if (sibling.harmed_blocks == 0 || sibling.unreadable) continue;
    const std::string lv = sibling.name.substr(sibling.name.find('/') + 1);
    const LogicalVolume* const volume = volume_.group.find(lv);
    if (!volume) continue;
    blocks[volume->pool] += sibling.harmed_blocks;
    if (can_be_written(*volume)) report.refusals.push_back(is_writable(*volume));
    if (volume->size < report.summary.end_of_copy) {
      report.refusals.push_back(
          Error(MessageId::kSharedOrigin,
                sibling.name + " would change, and it is shorter than the merge: the blocks past "
                               "its end cannot be copied",
                "merge or remove it, or extend it first (lvextend)"));
    }
  }
  for (const auto& [name, count] : blocks) {
    if (const LogicalVolume* const pool = volume_.group.find(name))
      judge_copies(report, *pool, count);
  }
}

void VolumeSource::judge_copies(PlanReport& report, const LogicalVolume& pool,
                                uint64_t blocks) const {
  const PoolStatus status = pool_status(device_of_pool(pool));
  const std::string room = room_text(blocks, pool.full_name(), status.free_data());
  if (!status.is_nearly_full(blocks)) {
    report.notes.push_back(room);
  } else {
    report.refusals.push_back(
        Error(MessageId::kPoolFull, room, "extend the pool, or leave out --keep-siblings"));
  }
}

std::vector<std::shared_ptr<BlockDevice>> VolumeSource::open_siblings(
    const std::string& pool, const std::vector<ThinId>& ids) {
  volume_.list_again(lvm_);
  const std::string name = pool.empty() ? volume_.pool.name : pool;
  std::vector<LogicalVolume> siblings;
  for (const ThinId id : ids) {
    for (const LogicalVolume& volume : volume_.group.volumes()) {
      const bool is_it = volume.is_thin() && volume.pool == name && volume.thin_id == value(id);
      if (is_it) siblings.push_back(volume);
    }
  }
  const LogicalVolume* const listed = volume_.group.find(name);
  if (siblings.size() != ids.size() || !listed) {
    throw Error(MessageId::kStale, "a sibling of " + thin_name() + " was removed just now",
                "run the same command again");
  }
  std::vector<const LogicalVolume*> inactive;
  for (const LogicalVolume& sibling : siblings) {
    if (can_be_written(sibling)) throw is_writable(sibling);
    if (sibling.is_writable() && !is_active_now(sibling)) inactive.push_back(&sibling);
  }
  const ThinPool receiving = pool.empty() ? pool_ : open_sibling_pool(*listed);
  intents_.activate_siblings(inactive);
  if (node_) node_->check(OriginNode::Changer::kOurselves);
  std::vector<std::shared_ptr<BlockDevice>> devices;
  receiving_ = Receiving{receiving, {}};
  for (const LogicalVolume& sibling : siblings) {
    if (std::ranges::find(changes_.siblings, sibling.uuid) != changes_.siblings.end()) {
      devices.push_back(claim_sibling(sibling));
    } else {
      receiving_->siblings.push_back(sibling);
      const auto layer = find_dm_device(volume_.origin.dm_uuid("-real"));
      if (!layer) {
        throw Error(MessageId::kLvmRefused, "LVM has removed the layer below " + origin_name(),
                    "run the same command again; nothing was written to the origin");
      }
      devices.push_back(open_hidden(sibling, receiving, layer));
    }
  }
  return devices;
}

std::shared_ptr<BlockDevice> VolumeSource::open_hidden(const LogicalVolume& sibling,
                                                       const ThinPool& pool,
                                                       std::optional<uint64_t> origin) {
  const UdevStep udev(sibling.dm_uuid());
  const std::string uuid = sibling.dm_uuid("-extmerge");
  // A kill right after it was made.
  if (const auto left = find_dm_device(uuid)) remove_dm_device(*left, udev);
  const uint64_t node = make_thin_node(
      pool.device_number, static_cast<ThinId>(*sibling.thin_id), origin, sibling.size,
      node_of_volume(sibling.vg, sibling.name) + "-extmerge", uuid, udev);
  auto device = FileDevice::open(facts_of_device(node), OpenMode::kClaim, Bytes(kSectorSize));
  remove_when_closed(node, udev);
  return device;
}

std::shared_ptr<BlockDevice> VolumeSource::claim_sibling(const LogicalVolume& sibling) {
  const auto node = find_dm_device(sibling.dm_uuid());
  if (!node) {
    lvm_.check_activation(sibling);
    throw Error(MessageId::kLvmRefused,
                "LVM has activated " + sibling.full_name() + ", and it has no device all the same",
                "see lvs -a; nothing was written to the origin");
  }
  auto device = FileDevice::open(facts_of_device(*node), OpenMode::kClaim, Bytes(kSectorSize));
  if (!closes_soon(*node, 1)) throw is_writable(sibling);
  return device;
}

void VolumeSource::close_siblings() {
  forget_siblings();
  intents_.put_back({Intent::kSiblings});
  if (node_) node_->check(OriginNode::Changer::kOurselves);
}

// The kernel removes a hidden node a moment after it was closed.
void VolumeSource::forget_siblings() {
  if (!receiving_) return;
  for (const LogicalVolume& sibling : receiving_->siblings) goes_soon(sibling.dm_uuid("-extmerge"));
  receiving_.reset();
}

void VolumeSource::check_siblings() const {
  for (const LogicalVolume& sibling : receiving_->siblings) {
    if (can_be_written(sibling)) throw is_writable(sibling);
  }
  const bool is_own = receiving_->pool.device_number == pool_.device_number;
  check_room(receiving_->pool);
  if (!is_own) check_room(pool_);  // SNAP may be in use, and its freeze costs blocks
}

}  // namespace extmerge
