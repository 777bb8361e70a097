// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/state.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "io/text.h"
#include "merge/content_device.h"
#include "merge/plan/run.h"

namespace extmerge {

namespace {

constexpr Bytes kBlockEnds{4096};  // metadata and data are read in whole blocks

// Looks at the live tree until no commit interferes; about a second in all.
constexpr unsigned kLooks = 25;
constexpr std::chrono::milliseconds kLongestPause{50};

ThinDevice choose_device(const std::vector<ThinDevice>& devices, const Job& job) {
  std::string ids;
  for (const ThinDevice& device : devices) {
    if (device.id == job.thin_id) return device;
    if (ids.size() < 60) ids += (ids.empty() ? "" : ", ") + std::to_string(value(device.id));
  }
  throw Error(
      MessageId::kThinIdAbsent,
      thin_id_text(job.thin_id) + " is not in " + job.metadata.path +
          (ids.empty() ? ", which has no thin devices" : ", which has " + ids),
      "the id is the second argument of the thin's table (dmsetup table); a thin made after "
      "the metadata snapshot is not in it");
}

// The data device; for a copy together with the external origin.
std::shared_ptr<BlockDevice> open_contents(const Job& job) {
  auto data = job.custody->open(job.data, OpenMode::kReadOnly, kBlockEnds);
  if (!job.copy) return data;
  const DeviceFacts& origin = job.copy->origin;
  if (!job.copy->is_readable()) return make_content_device(std::move(data), nullptr);
  return make_content_device(
      std::move(data), job.custody->open(origin, OpenMode::kReadOnly, alignment_of(origin.size)));
}

}  // namespace

State::State(const Job& job)
    : root_choice_(job.root_choice),
      metadata_(job.custody->open(job.metadata, OpenMode::kReadOnly, kBlockEnds)),
      data_(open_contents(job)),
      reader_(*metadata_),
      superblock_(choose_superblock(job)),
      devices_(read_devices(reader_, superblock_)),
      device_(choose_device(devices_, job)),
      end_of_data_(data_->size().value() / superblock_.data_block_size.bytes().value()) {
  if (live_ && live_->nr_data_blocks > end_of_data_.value()) {
    throw Error(MessageId::kDataDeviceTooSmall,
                "the data device " + job.data.path + " holds " +
                    std::to_string(end_of_data_.value()) + " blocks, the pool has " +
                    std::to_string(live_->nr_data_blocks),
                "name the pool's own data device (the pool's table has it: dmsetup table)");
  }
}

Superblock State::choose_superblock(const Job& job) {
  try {
    live_ = reader_.live_superblock();
  } catch (const Error& error) {
    // A given block needs no live superblock; the other choices start from it.
    const bool damaged = error.exit_status() == 9;
    if (job.root_choice != RootChoice::kBlock || !damaged) throw;
  }
  if (job.root_choice == RootChoice::kBlock) return reader_.held_superblock(job.root_block);
  if (job.root_choice == RootChoice::kLive) return *live_;
  if (live_->held_root == MetadataBlock(0)) {
    throw Error(MessageId::kNoMetadataSnapshot,
                "no metadata snapshot is held in " + job.metadata.path,
                "reserve one (dmsetup message POOL 0 reserve_metadata_snap) and release it after "
                "the merge; for a pool that is not active, --live-root reads the live tree");
  }
  return reader_.held_superblock(live_->held_root);
}

State::Freshness State::compare_with_live(MetadataBlock root) {
  // A commit may run while the live tree is read, and reuse old blocks. The result counts only if
  // the superblock is still the same.
  std::chrono::milliseconds pause{1};
  for (unsigned attempt = 0; attempt < kLooks; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
    try {
      const Superblock before = reader_.live_superblock();
      std::optional<ThinDevice> found;
      bool damaged_tree = false;
      try {
        found = find_device(reader_, before, device_.id);
      } catch (const Error& error) {
        if (error.exit_status() != 9) throw;
        damaged_tree = true;
      }
      const Superblock after = reader_.live_superblock();
      if (before.data_mapping_root != after.data_mapping_root ||
          before.device_details_root != after.device_details_root) {
        continue;
      }
      if (damaged_tree) return Freshness::kUnknown;
      const bool same = found && found->mapping_root == root &&
                        found->creation_time == device_.creation_time &&
                        found->transaction_id == device_.transaction_id;
      return same ? Freshness::kSame : Freshness::kChanged;
    } catch (const Error& error) {
      if (error.id() == MessageId::kMetadataBusy) continue;
      if (error.exit_status() != 9) throw;
      return Freshness::kUnknown;
    }
  }
  return Freshness::kBusy;
}

Error State::busy() const {
  return Error(MessageId::kMetadataBusy,
               "the pool commits its metadata too often to tell whether " +
                   thin_id_text(device_.id) + " has changed",
               "run the same command again when the pool is less busy, or skip this check with "
               "--allow-stale");
}

void State::check_still_held() {
  if (root_choice_ == RootChoice::kHeld) extmerge::check_still_held(reader_, superblock_);
}

void check_still_held(MetadataReader& reader, const Superblock& superblock) {
  const MetadataBlock held = reader.live_superblock().held_root;
  if (held == superblock.location) {
    const Superblock again = reader.held_superblock(held);
    if (again.data_mapping_root == superblock.data_mapping_root &&
        again.device_details_root == superblock.device_details_root &&
        again.transaction_id == superblock.transaction_id && again.time == superblock.time) {
      return;
    }
  }
  throw Error(
      MessageId::kMetadataSnapshotGone,
      "the metadata snapshot in " + reader.device().name() +
          " was released, or reserved again, while it was read",
      "make sure nothing else uses the pool's metadata snapshot, and run the command again");
}

}  // namespace extmerge
