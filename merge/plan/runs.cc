// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/runs.h"

#include <algorithm>
#include <utility>

namespace extmerge {

Bytes alignment_of(Bytes end) {
  constexpr uint64_t kPage = 4096;
  return Bytes(end.value() == 0 ? kPage : std::min(kPage, end.value() & -end.value()));
}

PlannedRuns::PlannedRuns(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                         const PlanLimits& limits, std::stop_token stop, BeyondOrigin beyond,
                         std::function<void(const Mapping&)> left_out)
    : walk_(reader, device.mapping_root, {.end_of_data = end_of_data}),
      limits_(limits),
      counter_(device, limits, std::move(beyond)),
      stop_(std::move(stop)),
      left_out_(std::move(left_out)) {}

bool PlannedRuns::next(Run& run) {
  Run found;
  while (next_unclipped(found)) {
    if (stop_.stop_requested()) throw stopped_while_planning();
    run = limits_.is_round() ? counter_.count_planned(found) : counter_.count(found);
    if (run.blocks > 0) return true;
  }
  if (ended_) return false;
  if (any_.blocks > 0) counter_.count(any_);
  summary_ = counter_.finish(walk_.delivered());
  ended_ = true;
  return false;
}

bool PlannedRuns::next_unclipped(Run& run) {
  run = std::exchange(pending_, {});
  for (;;) {
    while (!batch_.empty()) {
      const Mapping mapping = batch_.front();
      batch_ = batch_.subspan(1);
      if (limits_.is_round() && !is_planned(mapping)) continue;
      const Run one{mapping.thin, mapping.data, 1};
      if (run.blocks == 0) {
        run = one;
      } else if (!run.try_append(one)) {
        pending_ = one;
        return true;
      }
    }
    if (!ended_) batch_ = walk_.next();
    if (batch_.empty()) return run.blocks > 0;
    if (stop_.stop_requested()) throw stopped_while_planning();
    counter_.look_at(batch_);
  }
}

bool PlannedRuns::is_planned(const Mapping& mapping) {
  const Run one{mapping.thin, mapping.data, 1};
  if (!any_.try_append(one)) {
    if (any_.blocks > 0) counter_.count(any_);
    any_ = one;
  }
  if (limits_.is_planned(mapping.thin, mapping.time)) return true;
  if (left_out_) left_out_(mapping);
  return false;
}

bool RescaledRuns::next(Run& run) {
  const uint64_t size = size_.bytes().value();
  for (Run planned; plan_->next(planned);) {
    const Extent extent = to_extent(planned, limits_);
    const uint64_t end = size_.blocks_holding(extent.origin_offset + extent.length);
    const uint64_t first = std::max(given_, extent.origin_offset.value() / size);
    if (extent.length == Bytes(0) || first >= end) continue;
    given_ = end;
    run = {ThinBlock(first), DataBlock(0), end - first};
    return true;
  }
  return false;
}

PlanRuns rescaled_to(DataBlockSize size, const PlanLimits& limits, const PlanRuns& plan) {
  return [=] { return std::make_unique<RescaledRuns>(plan(), limits, size); };
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
