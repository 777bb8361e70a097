// SPDX-License-Identifier: GPL-3.0-or-later
//
// The origin may be a thin of another pool. A merge then provisions blocks there. The room is
// judged before the origin is written, and watched during the copy: a full pool queues writes for a
// minute, then fails them. Only the pool's metadata tells which blocks the origin maps, so the plan
// is judged by the most that it can cost.

#pragma once

#include <string>

#include "cli/source/dm/device_mapper.h"
#include "cli/source/lvm/group.h"
#include "merge/plan/summary.h"

namespace extmerge {

class OriginPool {
 public:
  // For an origin that is no thin: nothing is judged.
  OriginPool() = default;
  OriginPool(const Group& group, const LogicalVolume& origin);

  // Whether the origin is a thin whose pool is inactive: a merge activates and judges it.
  bool is_inactive() const;
  // "vg/pool"
  const std::string& name() const { return name_; }
  // kPoolFull, kUnfitPool, kNeedsCheck; nothing for an inactive pool. The origin is extended by
  // `extension` afterwards, for what the plan has past its end.
  Refusal judge(const PlanSummary& plan, Bytes extension = Bytes(0)) const;
  // Throws kOriginPoolFull if the pool is full, or nearly full and still needed.
  void check() const;

 private:
  // The blocks that the pool may have to provision for the rest of the origin.
  uint64_t most() const;

  std::string name_, uuid_;  // the uuid is empty if there is nothing to judge
  LogicalVolume origin_;
  Bytes block_;
  bool is_shared_ = false;  // with snapshots: a write to a shared block goes to a new one
};

}  // namespace extmerge
