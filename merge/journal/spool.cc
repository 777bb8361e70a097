// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/journal/spool.h"

namespace extmerge {

PlanSpool::PlanSpool(DurableDirectory& directory, const std::string& name, RunSource& runs,
                     const PlanLimits& limits)
    : limits_(limits), file_(directory.create(name)) {
  directory.remove(name);
  PlanPageWriter writer(*file_, 0, limits);
  for (Run run; runs.next(run);) writer.add(run);
  writer.finish();
  bytes_ = writer.position();
  pages_ = std::make_unique<PlanPages>(*file_, directory.path_of(name), kNewestFormatVersion, 0,
                                       limits, writer.pages(), bytes_);
}

std::unique_ptr<RunSource> PlanSpool::runs() const {
  Bytes none;
  return pages_->runs_from(none, none);
}

}  // namespace extmerge
