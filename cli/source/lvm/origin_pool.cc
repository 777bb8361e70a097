// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/origin_pool.h"

#include <algorithm>

#include "cli/source/dm/metadata_hold.h"
#include "io/error.h"
#include "io/text.h"

namespace extmerge {

namespace {

constexpr Bytes kLeastBlock{64 << 10};  // of any pool

uint64_t blocks_of(Bytes bytes, Bytes block) {
  return (bytes.value() + block.value() - 1) / block.value();
}

// The blocks that an active thin maps, by its status line.
uint64_t mapped_blocks(const LogicalVolume& thin, Bytes block) {
  for (const char* layer : {"-real", ""}) {
    const auto device = find_dm_device(thin.dm_uuid(layer));
    const auto status = device ? read_dm_status(*device) : std::vector<DmTarget>{};
    uint64_t sectors = 0;
    if (status.size() != 1 || status[0].type != "thin" || status[0].arguments.empty()) continue;
    if (!parse_whole(status[0].arguments[0], sectors)) continue;
    return blocks_of(Bytes(sectors * kSectorSize), block);
  }
  return 0;
}

// The merge stops before less than this is free: it looks about once a second.
uint64_t reserve_of(const PoolStatus& status) { return (status.total_data + 49) / 50; }

}  // namespace

OriginPool::OriginPool(const Group& group, const LogicalVolume& origin) {
  const LogicalVolume* const thin = group.find_by_uuid(origin.uuid);
  const LogicalVolume* const pool = thin && thin->is_thin() ? group.find(thin->pool) : nullptr;
  if (!pool || pool->chunk_size == Bytes(0)) return;
  name_ = pool->full_name();
  uuid_ = pool->dm_uuid("-tpool");
  origin_ = *thin;
  block_ = pool->chunk_size;
  const LogicalVolume* const parent = group.find(thin->origin);
  const bool is_snapshot = parent && parent->is_thin() && parent->pool == thin->pool;
  is_shared_ = is_snapshot || thin->snapshots != LogicalVolume::Snapshots::kNone;
}

bool OriginPool::is_inactive() const { return !uuid_.empty() && !find_dm_device(uuid_); }

uint64_t OriginPool::most() const {
  const uint64_t all = blocks_of(origin_.size, block_);
  return is_shared_ ? all : all - std::min(all, mapped_blocks(origin_, block_));
}

Refusal OriginPool::judge(const PlanSummary& plan, Bytes extension) const {
  const auto device = uuid_.empty() ? std::nullopt : find_dm_device(uuid_);
  if (!device) return {};
  const PoolStatus status = pool_status(*device);
  try {
    check_pool(find_pool(*device), status);
  } catch (const Error& error) {
    return error;
  }
  // Each run may begin and end inside a block.
  uint64_t needed = std::min(most(), blocks_of(plan.copy_bytes, block_) + plan.runs);
  const uint64_t runs_past_end = blocks_of(plan.beyond_origin_bytes, kLeastBlock);
  needed += std::min(blocks_of(extension, block_),
                     blocks_of(plan.beyond_origin_bytes, block_) + runs_past_end);
  const uint64_t reserve = reserve_of(status);
  if (needed == 0 || needed + reserve <= status.free_data()) return {};
  return Error(MessageId::kPoolFull,
               "the origin " + origin_.full_name() + " is a thin of the pool " + name_ +
                   ", and the merge may need " + plural(needed, "block") + " there; " +
                   std::to_string(status.free_data()) + " are free, " + std::to_string(reserve) +
                   " of them stay in reserve",
               "extend that pool (lvextend -L +SIZE " + name_ + ") and run the same command again");
}

void OriginPool::check() const {
  const auto device = uuid_.empty() ? std::nullopt : find_dm_device(uuid_);
  if (!device) return;
  const PoolStatus status = pool_status(*device);
  const bool is_low = status.free_data() < reserve_of(status) && most() > 0;
  if (status.takes_writes() && !is_low) return;
  const std::string what = "the pool " + name_ + " of the origin " + origin_.full_name() + " is ";
  throw Error(MessageId::kOriginPoolFull,
              what + (status.takes_writes()
                          ? "nearly full (" + plural(status.free_data(), "free block") + ")"
                          : "in mode '" + status.mode + "'"),
              "extend that pool (lvextend -L +SIZE " + name_ + "; see lvs -o +lv_health_status)");
}

}  // namespace extmerge
