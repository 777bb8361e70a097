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

// Counts the runs of the leaf's mappings that `is_wanted`, but for those at its ends.
template <typename Wanted, typename Count>
LeafEnds count_leaf(std::span<const Mapping> mappings, const Wanted& is_wanted,
                    const Count& count) {
  LeafEnds ends;
  Run run;
  for (const Mapping& mapping : mappings) {
    if (!is_wanted(mapping)) continue;
    const Run one{mapping.thin, mapping.data, 1};
    if (run.try_append(one)) continue;
    if (ends.first.blocks == 0) {
      ends.first = run;  // without blocks before the first mapping
    } else {
      count(run);
    }
    run = one;
  }
  (ends.first.blocks == 0 ? ends.first : ends.last) = run;
  return ends;
}

// Joins the runs at the ends of leaves, and counts them.
template <typename Count>
void join_ends(const std::vector<LeafEnds>& ends, Run& open, const Count& count) {
  for (const auto& [first, last] : ends) {
    if (first.blocks > 0 && !open.try_append(first)) {
      if (open.blocks > 0) count(open);
      open = first;
    }
    if (last.blocks == 0) continue;
    count(open);
    open = last;
  }
}

}  // namespace

Error stopped_while_planning() {
  return Error(MessageId::kStopped, "stopped while planning: nothing was copied",
               "run the same command again");
}

void RunSums::add(const Run& run, const PlanLimits& limits) {
  const Extent extent = to_extent(run, limits);
  ++runs;
  digest.add(run);
  if (run.content == RunContent::kHeld) {
    ++held_runs;
    return;
  }
  blocks += run.blocks;
  bytes += extent.length;
  end = std::max(end, extent.origin_offset + extent.length);
}

void RunSums::add(const RunSums& other) {
  runs += other.runs;
  held_runs += other.held_runs;
  blocks += other.blocks;
  bytes += other.bytes;
  end = std::max(end, other.end);
  digest.add(other.digest);
}

PlanCounter::PlanCounter(const ThinDevice& device, const PlanLimits& limits, BeyondOrigin beyond)
    : device_(device),
      limits_(limits),
      end_block_(limits.block_size.blocks_holding(limits.end)),
      last_block_(kLastByte / limits.block_size.bytes().value()),
      beyond_(std::move(beyond)) {}

Run PlanCounter::before_end(const Run& run) const {
  if (run.thin.value() >= end_block_) return {};
  Run copied = run;
  copied.blocks = std::min(run.blocks, end_block_ - run.thin.value());
  return copied;
}

Run PlanCounter::count(const Run& run) {
  if ((run.thin + run.blocks).value() > last_block_) {
    throw damaged(device_.mapping_root, "thin block " + std::to_string(run.thin.value()) +
                                            " lies beyond what any device can hold");
  }
  if (limits_.block_size.offset(run.thin + run.blocks) > limits_.end) count_past_end(run);
  const Run copied = before_end(run);
  if (copied.blocks > 0) all_.add(copied, limits_);
  return copied;
}

Run PlanCounter::count_planned(const Run& run) {
  const Run copied = before_end(run);
  if (copied.blocks > 0) planned_.add(copied, limits_);
  return copied;
}

void PlanCounter::look_at(std::span<const Mapping> mappings) {
  uint32_t newest = newest_time_;  // in a register: this runs once per mapping
  for (const Mapping& mapping : mappings) newest = std::max(newest, mapping.time);
  newest_time_ = newest;
}

void PlanCounter::count_past_end(const Run& run) {
  const Bytes run_end = limits_.block_size.offset(run.thin + run.blocks);
  const Bytes run_start = limits_.block_size.offset(run.thin);
  const Bytes start = std::max(run_start, limits_.end);
  // Before the thin's end, these bytes are past the origin's end. Past the thin's end, they are not
  // visible.
  const Bytes thin_end = limits_.thin_end.value_or(Bytes(kLastByte));
  const Bytes visible_end = std::clamp(thin_end, start, run_end);
  beyond_thin_ += run_end - visible_end;
  if (visible_end == start) return;
  beyond_origin_ += visible_end - start;
  if (beyond_) {
    const Bytes data_offset = limits_.block_size.offset(run.data) + (start - run_start);
    beyond_({start, data_offset, visible_end - start});
  }
}

void PlanCounter::add(const PlanCounter& other) {
  all_.add(other.all_);
  planned_.add(other.planned_);
  beyond_origin_ += other.beyond_origin_;
  beyond_thin_ += other.beyond_thin_;
  newest_time_ = std::max(newest_time_, other.newest_time_);
}

PlanSummary PlanCounter::finish(uint64_t mapped_blocks) const {
  if (mapped_blocks != device_.mapped_blocks) {
    throw damaged(device_.mapping_root, "the tree of " + thin_id_text(device_.id) + " has " +
                                            std::to_string(mapped_blocks) +
                                            " mappings, its details say " +
                                            std::to_string(device_.mapped_blocks));
  }
  const RunSums& planned = limits_.is_round() ? planned_ : all_;
  return {.mapped_blocks = mapped_blocks,
          .copy_blocks = planned.blocks,
          .runs = planned.runs,
          .copy_bytes = planned.bytes,
          .beyond_origin_bytes = beyond_origin_,
          .beyond_thin_bytes = beyond_thin_,
          .end_of_copy = planned.end,
          .digest = planned.digest.finish(limits_),
          .state_digest = all_.digest.finish(limits_),
          .newest_time = newest_time_};
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
  std::vector<LeafEnds> ends, planned_ends;

  LeafScan scan(reader, device.mapping_root, end_of_data);
  PlanCounter& total = counters.front();
  Run open, planned_open;  // may continue in the next leaf
  const auto visit = [&](unsigned worker, size_t leaf, std::span<const Mapping> mappings) {
    if (stop.stop_requested()) throw stopped_while_planning();
    PlanCounter& counter = counters[worker];
    ends[leaf] = count_leaf(
        mappings, [](const Mapping&) { return true; }, [&](const Run& run) { counter.count(run); });
    if (limits.is_round()) {
      planned_ends[leaf] = count_leaf(
          mappings,
          [&](const Mapping& mapping) { return limits.is_planned(mapping.thin, mapping.time); },
          [&](const Run& run) { counter.count_planned(run); });
    }
    counter.look_at(mappings);
    mapped_blocks += mappings.size();
    if (read) read(mappings.size());
    if (tree) tree->add_leaf(scan.block_of(leaf), mappings);
  };
  const auto count = [&](const Run& run) { total.count(run); };
  const auto count_planned = [&](const Run& run) { total.count_planned(run); };
  while (const size_t leaves = scan.next_window()) {
    ends.resize(leaves);
    if (limits.is_round()) planned_ends.resize(leaves);
    scan.visit_window(visit);
    join_ends(ends, open, count);
    join_ends(planned_ends, planned_open, count_planned);
  }
  if (open.blocks > 0) total.count(open);
  if (planned_open.blocks > 0) total.count_planned(planned_open);
  for (size_t i = 1; i < counters.size(); ++i) total.add(counters[i]);
  if (tree) tree->finish(scan.tree());
  return total.finish(mapped_blocks);
}

}  // namespace extmerge
