// SPDX-License-Identifier: GPL-3.0-or-later
//
// --keep-siblings: before the first write to the origin, each sibling that the merge would change
// gets its own copies of these blocks.

#include "merge/copy/copy_up.h"
#include "merge/merge.h"

namespace extmerge {

namespace {

constexpr size_t kThinsAtOnce = 32;  // 64 MiB of memory

}  // namespace

std::vector<std::shared_ptr<BlockDevice>> Custody::open_siblings(const std::vector<ThinId>&) {
  throw misuse("the siblings of this source are not known");
}

// Until the siblings are claimed, another program may write to one of them. So their mappings are
// read after that, from a new metadata snapshot. The next plan needs another new one.
bool Merger::keep_siblings(const PlanReport& plan) {
  if (!options_.overrides.keep_siblings) return false;
  options_.overrides.keep_siblings = false;
  std::vector<ThinId> harmed;
  uint64_t blocks = 0;
  for (const Sibling& sibling : plan.siblings) {
    if (!sibling.certain || sibling.harmed_blocks == 0) continue;
    harmed.push_back(sibling.id);
    blocks += sibling.harmed_blocks;
  }
  if (harmed.empty()) return false;
  progress_.total_bytes = plan.limits.block_size.length(blocks).value();
  progress_.done_bytes = 0;
  progress_.phase = Phase::kCopyingUp;
  std::vector<std::shared_ptr<BlockDevice>> devices = job_.custody->open_siblings(harmed);
  job_.custody->release_mappings();
  job_.custody->reserve_mappings();
  {
    State state(job_);
    const Bytes ends = alignment_of(job_.origin.size);
    const auto origin = job_.custody->open(job_.origin, OpenMode::kReadOnly, ends);
    for (size_t first = 0; first < harmed.size(); first += kThinsAtOnce) {
      std::vector<CopyUpThin> thins;
      for (size_t i = first; i < std::min(harmed.size(), first + kThinsAtOnce); ++i) {
        if (const ThinDevice* const thin = state.device_of(harmed[i])) {
          thins.push_back({thin->mapping_root, devices[i]});
        }
      }
      PlannedRuns runs(state.reader(), state.device(), state.end_of_data(), plan.limits, stop_);
      copy_up({runs, plan.limits, state.reader(), state.end_of_data(), *origin, watch()}, thins,
              progress_, stop_);
    }
    state.check_still_held();
  }
  devices.clear();
  job_.custody->close_siblings();
  job_.custody->release_mappings();
  job_.custody->reserve_mappings();
  return true;
}

}  // namespace extmerge
