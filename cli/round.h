// SPDX-License-Identifier: GPL-3.0-or-later
//
// One merge or copy of what a source shows now: planned, confirmed, copied, and everything put
// back.

#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "cli/options.h"
#include "cli/show/report.h"
#include "cli/signals.h"
#include "cli/source/source.h"

namespace extmerge {

using ConfirmPlan = std::function<bool(const PlanReport&, const DeviceNames&)>;

class Round {
 public:
  // All of these must outlive it.
  Round(const Options& options, Source& source, Progress& progress, Signals& signals);

  // A new merge, or an unfinished one that can be resumed. Where nothing was written since the last
  // one (PlanReport::nothing_new), nothing is changed.
  MergeReport merge(const ConfirmPlan& confirmation);
  // An unfinished one.
  MergeReport resume() { return carry_out(true, {}); }

 private:
  PlanReport plan_and_ask(const ConfirmPlan& confirmation);
  MergeReport carry_out(bool resumes, const ConfirmPlan& confirmation);

  const Options& options_;
  Source& source_;
  Progress& progress_;
  Signals& signals_;
  MergeOptions wishes_;
  std::set<std::string> said_;
  std::unique_ptr<Journal> since_;  // of --since, for a copy
  std::vector<ThinId> older_;       // as planned: PlanReport::older
};

// Throws kStopped if a signal has asked for a stop: the thin is merged, and it is not removed then.
void refuse_end_after_stop(const Options& options, const Source& source, const Signals& signals);

}  // namespace extmerge
