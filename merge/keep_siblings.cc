// SPDX-License-Identifier: GPL-3.0-or-later
//
// --keep-siblings: before the first write to the origin, each sibling that the merge would change
// gets its own copies of these blocks. One pool after the other: a thin gets blocks of its own
// pool's size.

#include <map>

#include "merge/copy/copy_up.h"
#include "merge/merge.h"
#include "merge/other_pool.h"

namespace extmerge {

namespace {

constexpr size_t kThinsAtOnce = 32;  // 64 MiB of memory

// Ids by pool. The first is this pool, which has no name here.
using ByPool = std::map<std::string, std::vector<ThinId>>;

struct Receivers {
  const std::vector<ThinId>& ids;
  const std::vector<std::shared_ptr<BlockDevice>>& devices;
};

// `plan` is in blocks of `pool`, a State or an OtherPool.
template <typename Pool>
void copy_up_all(Pool& pool, const Receivers& receivers, const PlanLimits& limits,
                 const PlanRuns& plan, BlockDevice& origin, const std::function<void()>& watch,
                 Progress& progress, const std::stop_token& stop) {
  const size_t count = receivers.ids.size();
  for (size_t first = 0; first < count; first += kThinsAtOnce) {
    std::vector<CopyUpThin> thins;
    for (size_t i = first; i < std::min(count, first + kThinsAtOnce); ++i) {
      if (const ThinDevice* const thin = pool.device_of(receivers.ids[i])) {
        thins.push_back({thin->mapping_root, receivers.devices[i]});
      }
    }
    const std::unique_ptr<RunSource> runs = plan();
    copy_up({*runs, limits, pool.reader(), pool.end_of_data(), origin, watch}, thins, progress,
            stop);
  }
  pool.check_still_held();
}

}  // namespace

std::vector<std::shared_ptr<BlockDevice>> Custody::open_siblings(const std::string&,
                                                                 const std::vector<ThinId>&) {
  throw misuse("the siblings of this source are not known");
}

void Merger::copy_up_elsewhere(const std::string& name, const std::vector<ThinId>& ids,
                               const PlanLimits& limits, const PlanRuns& plan,
                               BlockDevice& origin) {
  std::vector<std::shared_ptr<BlockDevice>> devices = job_.custody->open_siblings(name, ids);
  {
    OtherPool pool(*job_.custody, name);
    const DataBlockSize size = pool.block_size();
    copy_up_all(pool, {ids, devices}, limits.in_blocks_of(size), rescaled_to(size, limits, plan),
                origin, watch(), progress_, stop_);
  }
  devices.clear();
  job_.custody->close_siblings();
}

// Until the siblings are claimed, another program may write to one of them. So their mappings are
// read after that, from a new metadata snapshot. The next plan needs another new one.
bool Merger::keep_siblings(const PlanReport& plan) {
  if (!options_.overrides.keep_siblings) return false;
  options_.overrides.keep_siblings = false;
  ByPool harmed;
  uint64_t bytes = 0;
  for (const Sibling& sibling : plan.siblings) {
    const bool is_kept = sibling.certain && !sibling.unreadable && sibling.harmed_blocks > 0;
    if (!is_kept) continue;
    harmed[sibling.pool].push_back(sibling.id);
    bytes += sibling.block_size.length(sibling.harmed_blocks).value();
  }
  if (harmed.empty()) return false;
  progress_.total_bytes = bytes;
  progress_.done_bytes = 0;
  progress_.phase = Phase::kCopyingUp;
  const std::vector<ThinId> own = std::move(harmed[""]);
  harmed.erase("");
  std::vector<std::shared_ptr<BlockDevice>> devices;
  if (!own.empty()) devices = job_.custody->open_siblings("", own);
  job_.custody->release_mappings();
  job_.custody->reserve_mappings();
  {
    State state(job_);
    const Bytes ends = alignment_of(job_.origin.size);
    const auto origin = job_.custody->open(job_.origin, OpenMode::kReadOnly, ends);
    const PlanRuns runs = planned_runs(state, plan.limits);
    copy_up_all(state, {own, devices}, plan.limits, runs, *origin, watch(), progress_, stop_);
    devices.clear();
    if (!own.empty()) job_.custody->close_siblings();
    for (const auto& [pool, ids] : harmed) copy_up_elsewhere(pool, ids, plan.limits, runs, *origin);
    state.check_still_held();
  }
  job_.custody->release_mappings();
  job_.custody->reserve_mappings();
  return true;
}

}  // namespace extmerge
