// SPDX-License-Identifier: GPL-3.0-or-later
//
// Computes a plan's digest run by run; see PlanDigest for its definition. The digest is a sum over
// the runs, so their order does not matter. Several threads can digest parts of a plan and add them
// up.

#pragma once

#include <cstdint>

#include "merge/plan/run.h"

namespace extmerge {

class RunDigest {
 public:
  // Called once for each coalesced run.
  void add(const Run& run);
  void add(const RunDigest& other);
  PlanDigest finish(const PlanLimits& limits) const;

 private:
  uint64_t low_ = 0;
  uint64_t high_ = 0;
};

}  // namespace extmerge
