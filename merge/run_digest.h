// SPDX-License-Identifier: GPL-3.0-or-later
//
// The digest of a plan while its runs go by; what it covers is said at
// PlanDigest. About 24 bytes hashed a run, no memory that grows.

#pragma once

#include <memory>

#include "merge/run.h"

namespace extmerge {

class RunDigest {
 public:
  RunDigest();
  ~RunDigest();
  RunDigest(RunDigest&&) noexcept;
  RunDigest& operator=(RunDigest&&) noexcept;

  // In plan order, coalesced already.
  void add(const Run& run);
  // Once, after the last run.
  PlanDigest finish(const PlanLimits& limits);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace extmerge
