// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/contents.h"

#include <algorithm>

#include "merge/plan/summary.h"

namespace extmerge {

namespace {

// Joins neighbours of one kind, and fills the gaps between mapped blocks.
class Ranges {
 public:
  Ranges(const ContentLimits& limits, const ContentListener& listener)
      : limits_(limits), listener_(listener) {}

  void add_mapped(Bytes start, Bytes end, Content content) {
    add_unmapped(start);
    add(std::min(end, limits_.mapped.end), content);
  }
  // Everything up to `end` that has no mapping.
  void add_unmapped(Bytes end) {
    end = std::min(end, limits_.mapped.end);
    add(std::min({end, limits_.origin_end, limits_.unmapped_held_end}), Content::kSame);
    add(std::min(end, limits_.origin_end), Content::kOrigin);
    add(end, Content::kZeros);
  }
  void add_same(Bytes end) { add(std::min(end, limits_.mapped.end), Content::kSame); }
  void finish() {
    if (range_.length > Bytes(0)) listener_(range_);
  }

 private:
  void add(Bytes end, Content content) {
    if (end <= end_) return;
    if (range_.content != content) {
      finish();
      range_ = {end_, Bytes(0), content};
    }
    range_.length += end - end_;
    end_ = end;
  }

  const ContentLimits& limits_;
  const ContentListener& listener_;
  ContentRange range_;
  Bytes end_;  // of what was added
};

}  // namespace

void walk_contents(CopyRuns& runs, const ContentLimits& limits, const ContentListener& listener) {
  const DataBlockSize size = limits.mapped.block_size;
  Ranges ranges(limits, listener);
  for (Run run; runs.next(run);) {
    const Bytes start = size.offset(run.thin), end = size.offset(run.thin + run.blocks);
    ranges.add_same(start);
    if (run.content == RunContent::kHeld) {
      ranges.add_same(end);
    } else if (run.content == RunContent::kPoolData) {
      ranges.add_mapped(start, end, Content::kPoolData);
    } else {
      ranges.add_unmapped(end);
    }
  }
  ranges.add_same(limits.mapped.end);
  ranges.finish();
}

void walk_contents(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                   const ContentLimits& limits, const ContentListener& listener,
                   const std::stop_token& stop,
                   const std::function<void(const Mapping&)>& left_out) {
  const DataBlockSize size = limits.mapped.block_size;
  const uint64_t blocks = size.blocks_holding(limits.mapped.end);
  MappingWalk walk(reader, device.mapping_root, {.end_of_data = end_of_data});
  PlanCounter counter(device, limits.mapped, {});
  Ranges ranges(limits, listener);
  for (auto batch = walk.next(); !batch.empty(); batch = walk.next()) {
    if (stop.stop_requested()) throw stopped_while_planning();
    for (const Mapping& mapping : batch) {
      if (mapping.thin.value() >= blocks) break;  // not visible, like all that follow
      const bool is_new = limits.mapped.is_planned(mapping.thin, mapping.time);
      if (!is_new && left_out) left_out(mapping);
      ranges.add_mapped(size.offset(mapping.thin), size.offset(mapping.thin + 1),
                        is_new ? Content::kPoolData : Content::kSame);
    }
  }
  counter.finish(walk.delivered());
  ranges.add_unmapped(limits.mapped.end);
  ranges.finish();
}

}  // namespace extmerge
