// SPDX-License-Identifier: GPL-3.0-or-later
//
// The digest of a plan while its runs go by; what it covers is said at
// PlanDigest. It is a sum over the runs, so their order does not matter and parts
// of a plan can be digested by several threads and added up.

#pragma once

#include <cstdint>

#include "merge/plan/run.h"

namespace extmerge {

class RunDigest {
 public:
  // Once for each run, coalesced already.
  void add(const Run& run);
  void add(const RunDigest& other);
  PlanDigest finish(const PlanLimits& limits) const;

 private:
  uint64_t low_ = 0;
  uint64_t high_ = 0;
};

}  // namespace extmerge
