// SPDX-License-Identifier: GPL-3.0-or-later
//
// --keep-siblings: the siblings that get their own copies of blocks.
//
//   sibling                          written through
//   inactive, writable               its own node, activated for that time and claimed: another
//                                    program cannot mount it
//   inactive or active, read-only    a hidden node of the same thin, since LVM's node takes no
//   writes active, suspended                the same active and writable              refused: a
//   write of another program could be lost

#include <algorithm>

#include "cli/source/lvm/volume_source.h"

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

std::string room_text(uint64_t blocks, const std::string& pool, uint64_t free) {
  return "the siblings get their own copies of " + std::to_string(blocks) + " blocks of the pool " +
         pool + "; " + std::to_string(free) + " are free";
}

}  // namespace

void VolumeSource::judge_siblings(PlanReport& report) const {
  if (!request_.merge.overrides.keep_siblings || report.nothing_new) return;
  uint64_t blocks = 0;
  for (const Sibling& sibling : report.siblings) {
    if (sibling.harmed_blocks == 0 || sibling.unreadable) continue;
    blocks += sibling.harmed_blocks;
    const std::string lv = sibling.name.substr(sibling.name.find('/') + 1);
    const LogicalVolume* const volume = volume_.group.find(lv);
    if (!volume) continue;
    if (can_be_written(*volume)) report.refusals.push_back(is_writable(*volume));
    if (volume->size < report.summary.end_of_copy) {
      report.refusals.push_back(
          Error(MessageId::kSharedOrigin,
                sibling.name + " would change, and it is shorter than the merge: the blocks past "
                               "its end cannot be copied",
                "merge or remove it, or extend it first (lvextend)"));
    }
  }
  if (blocks == 0) return;
  const PoolStatus status = pool_status(pool_.device_number);
  const std::string room = room_text(blocks, volume_.pool.full_name(), status.free_data());
  if (!status.is_nearly_full(blocks)) {
    report.notes.push_back(room);
  } else {
    report.refusals.push_back(
        Error(MessageId::kPoolFull, room, "extend the pool, or leave out --keep-siblings"));
  }
}

std::vector<std::shared_ptr<BlockDevice>> VolumeSource::open_siblings(
    const std::vector<ThinId>& ids) {
  volume_.list_again(lvm_);
  std::vector<LogicalVolume> siblings;
  for (const ThinId id : ids) {
    for (const LogicalVolume& volume : volume_.group.volumes()) {
      const bool is_it =
          volume.is_thin() && volume.pool == volume_.pool.name && volume.thin_id == value(id);
      if (is_it) siblings.push_back(volume);
    }
  }
  if (siblings.size() != ids.size()) {
    throw Error(MessageId::kStale, "a sibling of " + thin_name() + " was removed just now",
                "run the same command again");
  }
  std::vector<const LogicalVolume*> inactive;
  for (const LogicalVolume& sibling : siblings) {
    if (can_be_written(sibling)) throw is_writable(sibling);
    if (sibling.is_writable() && !is_active_now(sibling)) inactive.push_back(&sibling);
  }
  intents_.activate_siblings(inactive);
  if (node_) node_->check(OriginNode::Changer::kOurselves);
  std::vector<std::shared_ptr<BlockDevice>> devices;
  siblings_.emplace();
  for (const LogicalVolume& sibling : siblings) {
    if (std::ranges::find(changes_.siblings, sibling.uuid) != changes_.siblings.end()) {
      devices.push_back(claim_sibling(sibling));
    } else {
      siblings_->push_back(sibling);
      devices.push_back(open_hidden(sibling));
    }
  }
  return devices;
}

std::shared_ptr<BlockDevice> VolumeSource::open_hidden(const LogicalVolume& sibling) {
  const UdevStep udev(sibling.dm_uuid());
  const std::string uuid = sibling.dm_uuid("-extmerge");
  // A kill right after it was made.
  if (const auto left = find_dm_device(uuid)) remove_dm_device(*left, udev);
  const uint64_t node =
      make_thin_node(pool_.device_number, static_cast<ThinId>(*sibling.thin_id), sibling.size,
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
  siblings_.reset();
  intents_.put_back({Intent::kSiblings});
  if (node_) node_->check(OriginNode::Changer::kOurselves);
}

void VolumeSource::check_siblings() const {
  for (const LogicalVolume& sibling : *siblings_) {
    if (can_be_written(sibling)) throw is_writable(sibling);
  }
  const PoolStatus status = pool_status(pool_.device_number);
  if (!status.is_nearly_full()) return;
  throw Error(MessageId::kPoolFull,
              "the pool " + volume_.pool.full_name() + " is filling up (" +
                  std::to_string(status.free_data()) +
                  " free blocks): nothing was written to the origin",
              "extend the pool, and run the same command again: it copies the rest");
}

}  // namespace extmerge
