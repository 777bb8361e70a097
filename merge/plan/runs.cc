// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/runs.h"

#include <algorithm>

namespace extmerge {

Bytes alignment_of(Bytes end) {
  constexpr uint64_t kPage = 4096;
  return Bytes(end.value() == 0 ? kPage : std::min(kPage, end.value() & -end.value()));
}

PlannedRuns::PlannedRuns(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                         const PlanLimits& limits, std::stop_token stop, BeyondOrigin beyond)
    : walk_(reader, device.mapping_root, {.end_of_data = end_of_data}),
      counter_(device, limits, std::move(beyond)),
      stop_(std::move(stop)) {}

bool PlannedRuns::next(Run& run) {
  Run found;
  while (next_unclipped(found)) {
    if (stop_.stop_requested()) throw stopped_while_planning();
    run = counter_.count(found);
    if (run.blocks > 0) return true;
  }
  if (!ended_) summary_ = counter_.finish(walk_.delivered());
  ended_ = true;
  return false;
}

bool PlannedRuns::next_unclipped(Run& run) {
  run.blocks = 0;
  for (;;) {
    for (; !batch_.empty(); batch_ = batch_.subspan(1)) {
      const Run one{batch_.front().thin, batch_.front().data, 1};
      if (run.blocks == 0) {
        run = one;
      } else if (!run.try_append(one)) {
        return true;
      }
    }
    if (!ended_) batch_ = walk_.next();
    if (batch_.empty()) return run.blocks > 0;
  }
}

std::optional<Extent> ExtentSource::next(Bytes most) {
  most = std::min(most, length_);
  if (most == Bytes(0)) return std::nullopt;
  while (rest_.length == Bytes(0)) {
    Run run;
    if (!runs_.next(run)) return std::nullopt;
    rest_ = to_extent(run, limits_);
    const Bytes passed = std::min(skip_, rest_.length);
    rest_.drop_front(passed);
    skip_ -= passed;
  }
  Extent piece = rest_;
  piece.length = std::min(piece.length, most);
  rest_.drop_front(piece.length);
  length_ -= piece.length;
  return piece;
}

}  // namespace extmerge
