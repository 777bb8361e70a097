// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/summary.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "io/text.h"
#include "merge/plan/planned_tree.h"
#include "persistent-data/leaf_scan.h"
#include "persistent-data/node.h"

namespace extmerge {

namespace {

// No Linux device reaches past this byte. So a mapping past it is damage, and below it no offset
// overflows.
constexpr uint64_t kLastByte = INT64_MAX;

// The runs at the ends of a leaf, which may continue in the leaves beside it. A run without blocks
// is missing, or (`last`) equals `first`.
struct LeafEnds {
  Run first;
  Run last;
};

LeafEnds count_leaf(std::span<const Mapping> mappings, PlanCounter& counter) {
  LeafEnds ends;
  Run run;
  for (const Mapping& mapping : mappings) {
    const Run one{mapping.thin, mapping.data, 1};
    if (run.try_append(one)) continue;
    if (ends.first.blocks == 0) {
      ends.first = run;  // without blocks before the first mapping
    } else {
      counter.count(run);
    }
    run = one;
  }
  (ends.first.blocks == 0 ? ends.first : ends.last) = run;
  return ends;
}

}  // namespace

Error stopped_while_planning() {
  return Error(MessageId::kStopped, "stopped while planning: nothing was copied",
               "run the same command again");
}

PlanCounter::PlanCounter(const ThinDevice& device, const PlanLimits& limits, BeyondOrigin beyond)
    : device_(device),
      limits_(limits),
      end_block_(limits.block_size.blocks_holding(limits.end)),
      last_block_(kLastByte / limits.block_size.bytes().value()),
      beyond_(std::move(beyond)) {}

Run PlanCounter::count(const Run& run) {
  if ((run.thin + run.blocks).value() > last_block_) {
    throw damaged(device_.mapping_root, "thin block " + std::to_string(run.thin.value()) +
                                            " lies beyond what any device can hold");
  }
  if (limits_.block_size.offset(run.thin + run.blocks) > limits_.end) count_past_end(run);
  if (run.thin.value() >= end_block_) return {};
  Run copied = run;
  copied.blocks = std::min(run.blocks, end_block_ - run.thin.value());
  const Extent extent = to_extent(copied, limits_);
  ++sums_.runs;
  sums_.copy_blocks += copied.blocks;
  sums_.copy_bytes += extent.length;
  sums_.end_of_copy = std::max(sums_.end_of_copy, extent.origin_offset + extent.length);
  digest_.add(copied);
  return copied;
}

void PlanCounter::count_past_end(const Run& run) {
  const Bytes run_end = limits_.block_size.offset(run.thin + run.blocks);
  const Bytes run_start = limits_.block_size.offset(run.thin);
  const Bytes start = std::max(run_start, limits_.end);
  // Before the thin's end, these bytes are past the origin's end. Past the thin's end, they are not
  // visible.
  const Bytes thin_end = limits_.thin_end.value_or(Bytes(kLastByte));
  const Bytes visible_end = std::clamp(thin_end, start, run_end);
  sums_.beyond_thin_bytes += run_end - visible_end;
  if (visible_end == start) return;
  sums_.beyond_origin_bytes += visible_end - start;
  if (beyond_) {
    const Bytes data_offset = limits_.block_size.offset(run.data) + (start - run_start);
    beyond_({start, data_offset, visible_end - start});
  }
}

void PlanCounter::add(const PlanCounter& other) {
  sums_.runs += other.sums_.runs;
  sums_.copy_blocks += other.sums_.copy_blocks;
  sums_.copy_bytes += other.sums_.copy_bytes;
  sums_.beyond_origin_bytes += other.sums_.beyond_origin_bytes;
  sums_.beyond_thin_bytes += other.sums_.beyond_thin_bytes;
  sums_.end_of_copy = std::max(sums_.end_of_copy, other.sums_.end_of_copy);
  digest_.add(other.digest_);
}

PlanSummary PlanCounter::finish(uint64_t mapped_blocks) const {
  if (mapped_blocks != device_.mapped_blocks) {
    throw damaged(device_.mapping_root, "the tree of " + thin_id_text(device_.id) + " has " +
                                            std::to_string(mapped_blocks) +
                                            " mappings, its details say " +
                                            std::to_string(device_.mapped_blocks));
  }
  PlanSummary summary = sums_;
  summary.mapped_blocks = mapped_blocks;
  summary.digest = digest_.finish(limits_);
  return summary;
}

PlanSummary summarize(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                      const PlanLimits& limits, const std::stop_token& stop,
                      const BeyondOrigin& beyond, const MappingsRead& read, PlannedTree* tree) {
  std::mutex lock;
  BeyondOrigin one_at_a_time;
  if (beyond) {
    one_at_a_time = [&](const Extent& extent) {
      const std::lock_guard guard(lock);
      beyond(extent);
    };
  }
  std::vector<PlanCounter> counters(LeafScan::kWorkers, {device, limits, one_at_a_time});
  std::atomic<uint64_t> mapped_blocks = 0;
  std::vector<LeafEnds> ends;

  LeafScan scan(reader, device.mapping_root, end_of_data);
  PlanCounter& total = counters.front();
  Run open;  // may continue in the next leaf
  const auto visit = [&](unsigned worker, size_t leaf, std::span<const Mapping> mappings) {
    if (stop.stop_requested()) throw stopped_while_planning();
    ends[leaf] = count_leaf(mappings, counters[worker]);
    mapped_blocks += mappings.size();
    if (read) read(mappings.size());
    if (tree) tree->add_leaf(scan.block_of(leaf), mappings);
  };
  while (const size_t leaves = scan.next_window()) {
    ends.resize(leaves);
    scan.visit_window(visit);
    for (const auto& [first, last] : ends) {
      if (first.blocks > 0 && !open.try_append(first)) {
        if (open.blocks > 0) total.count(open);
        open = first;
      }
      if (last.blocks == 0) continue;
      total.count(open);
      open = last;
    }
  }
  if (open.blocks > 0) total.count(open);
  for (size_t i = 1; i < counters.size(); ++i) total.add(counters[i]);
  if (tree) tree->finish(scan.tree());
  return total.finish(mapped_blocks);
}

}  // namespace extmerge
