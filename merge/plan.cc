// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan.h"

#include <algorithm>

#include "persistent-data/node.h"

namespace extmerge {

namespace {

// No Linux device reaches past this, so a mapping that does is damage, and
// below it no offset overflows.
constexpr uint64_t kLastByte = INT64_MAX;

}  // namespace

Error stopped_while_planning() {
  return Error(MessageId::kStopped, "stopped while planning: nothing was copied",
               "run the same command again");
}

Bytes alignment_of(Bytes end) {
  constexpr uint64_t kPage = 4096;
  return Bytes(end.value() == 0 ? kPage : std::min(kPage, end.value() & -end.value()));
}

Extent to_extent(const Run& run, const PlanLimits& limits) {
  const Bytes start = limits.block_size.offset(run.thin);
  const Bytes end = std::min(limits.block_size.offset(run.thin + run.blocks), limits.end);
  const Bytes length = end > start ? end - start : Bytes(0);
  return {start, limits.block_size.offset(run.data), length};
}

PlannedRuns::PlannedRuns(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                         const PlanLimits& limits, std::stop_token stop, BeyondOrigin beyond)
    : walk_(reader, device.mapping_root, {.end_of_data = end_of_data}),
      device_(device),
      limits_(limits),
      end_block_(limits.block_size.blocks_holding(limits.end)),
      stop_(std::move(stop)),
      beyond_(std::move(beyond)) {}

bool PlannedRuns::next(Run& run) {
  Run found;
  while (next_unclipped(found)) {
    if (stop_.stop_requested()) throw stopped_while_planning();
    count_past_end(found);
    if (found.thin.value() >= end_block_) continue;
    found.blocks = std::min(found.blocks, end_block_ - found.thin.value());
    count(found);
    run = found;
    return true;
  }
  if (!ended_) finish();
  return false;
}

bool PlannedRuns::next_unclipped(Run& run) {
  run.blocks = 0;
  for (;;) {
    size_t used = 0;
    for (const Mapping& m : batch_) {
      if (run.blocks == 0) {
        run = {m.thin, m.data, 1};
      } else if (m.thin == run.thin + run.blocks && m.data == run.data + run.blocks) {
        ++run.blocks;
      } else {
        break;
      }
      ++used;
    }
    const bool more_in_batch = used < batch_.size();
    batch_ = batch_.subspan(used);
    if (more_in_batch) break;
    if (!ended_) batch_ = walk_.next();
    if (batch_.empty()) break;
  }
  if (run.blocks == 0) return false;
  if ((run.thin + run.blocks).value() > kLastByte / limits_.block_size.bytes().value()) {
    throw damaged(device_.mapping_root, "thin block " + std::to_string(run.thin.value()) +
                                            " lies beyond what any device can hold");
  }
  return true;
}

void PlannedRuns::count(const Run& run) {
  const Extent extent = to_extent(run, limits_);
  ++summary_.runs;
  summary_.copy_blocks += run.blocks;
  summary_.copy_bytes += extent.length;
  summary_.end_of_copy = extent.origin_offset + extent.length;
  digest_.add(run);
}

void PlannedRuns::count_past_end(const Run& run) {
  const Bytes run_start = limits_.block_size.offset(run.thin);
  const Bytes run_end = limits_.block_size.offset(run.thin + run.blocks);
  const Bytes start = std::max(run_start, limits_.end);
  if (start >= run_end) return;
  // What the thin still shows is the origin's missing end; the rest nobody sees.
  const Bytes thin_end = limits_.thin_end.value_or(Bytes(kLastByte));
  const Bytes visible_end = std::clamp(thin_end, start, run_end);
  summary_.beyond_thin_bytes += run_end - visible_end;
  if (visible_end == start) return;
  summary_.beyond_origin_bytes += visible_end - start;
  if (beyond_) {
    const Bytes data_offset = limits_.block_size.offset(run.data) + (start - run_start);
    beyond_({start, data_offset, visible_end - start});
  }
}

void PlannedRuns::finish() {
  ended_ = true;
  summary_.mapped_blocks = walk_.delivered();
  if (summary_.mapped_blocks != device_.mapped_blocks) {
    throw damaged(device_.mapping_root, "the tree of thin id " + std::to_string(value(device_.id)) +
                                            " has " + std::to_string(summary_.mapped_blocks) +
                                            " mappings, its details say " +
                                            std::to_string(device_.mapped_blocks));
  }
  summary_.digest = digest_.finish(limits_);
}

ExtentSource::ExtentSource(RunSource& runs, const PlanLimits& limits, Bytes skip)
    : runs_(runs), limits_(limits), skip_(skip) {}

std::optional<Extent> ExtentSource::next(Bytes most) {
  while (rest_.length == Bytes(0)) {
    Run run;
    if (!runs_.next(run)) return std::nullopt;
    rest_ = to_extent(run, limits_);
    const Bytes passed = std::min(skip_, rest_.length);
    rest_.origin_offset += passed;
    rest_.data_offset += passed;
    rest_.length -= passed;
    skip_ -= passed;
  }
  Extent piece = rest_;
  piece.length = std::min(piece.length, most);
  rest_.origin_offset += piece.length;
  rest_.data_offset += piece.length;
  rest_.length -= piece.length;
  return piece;
}

}  // namespace extmerge
