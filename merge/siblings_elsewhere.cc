// SPDX-License-Identifier: GPL-3.0-or-later
//
// Siblings in other pools. Their mappings are read from a metadata snapshot of each pool, one pool
// after the other, and compared with the plan in blocks of that pool.

#include <algorithm>
#include <map>

#include "io/text.h"
#include "merge/merge.h"
#include "merge/other_pool.h"

namespace extmerge {

PoolDevices Custody::reserve_pool(const std::string&) {
  throw misuse("the other pools of this source are not known");
}

namespace {

Error damaged_mappings(const Sibling& sibling) {
  return Error(MessageId::kMetadataDamaged, "the mappings of " + sibling.name + " are damaged",
               "check the metadata of the pool " + sibling.pool + " (thin_check)");
}

}  // namespace

void Merger::count_elsewhere(const PlanLimits& limits, const PlanRuns& plan,
                             std::vector<Sibling>& siblings) {
  OtherPool pool(*job_.custody, siblings.front().pool);
  std::vector<ThinDevice> devices;
  for (const Sibling& sibling : siblings) {
    if (const ThinDevice* const device = pool.device_of(sibling.id)) devices.push_back(*device);
  }
  progress_.thins += devices.size();
  const auto read = [this](uint64_t thins, uint64_t mappings) {
    progress_.thins_read += thins;
    progress_.mappings_read += mappings;
  };
  const PlanRuns rescaled = rescaled_to(pool.block_size(), limits, plan);
  const PlannedTree planned(*rescaled(), limits.in_blocks_of(pool.block_size()),
                            pool.reader().nr_blocks());
  const std::vector<Sibling> counted =
      find_siblings(pool.reader(), devices, planned, pool.end_of_data(), read, stop_, rescaled);
  progress_.thins_read = progress_.thins.load();
  pool.check_still_held();
  for (Sibling& sibling : siblings) {
    const auto same = std::ranges::find(counted, sibling.id, &Sibling::id);
    sibling.block_size = pool.block_size();
    if (same == counted.end()) continue;  // younger than the metadata snapshot, or removed just now
    sibling.harmed_blocks = same->harmed_blocks;
    sibling.unreadable = same->unreadable;
    if (same->unreadable) sibling.reason = damaged_mappings(sibling);
  }
}

std::vector<Sibling> Merger::siblings_elsewhere(const PlanLimits& limits, uint64_t plan_blocks,
                                                const PlanRuns& plan) {
  std::map<std::string, std::vector<Sibling>> pools;
  for (const OriginUser& user : job_.origin_users.value_or(std::vector<OriginUser>{})) {
    if (user.pool.empty()) continue;
    pools[user.pool].push_back({.id = user.id,
                                .name = user.name,
                                .harmed_blocks = plan_blocks,
                                .unreadable = true,
                                .certain = true,
                                .pool = user.pool});
  }
  std::vector<Sibling> found;
  for (auto& [name, siblings] : pools) {
    try {
      count_elsewhere(limits, plan, siblings);
    } catch (const Error& error) {
      if (error.id() == MessageId::kStopped) throw;
      for (Sibling& sibling : siblings) sibling.reason = error;
    }
    found.insert(found.end(), siblings.begin(), siblings.end());
  }
  return found;
}

// They may have discarded blocks during the merge, as those of this pool.
void Merger::refuse_harmed_elsewhere(Journal& journal, const PlanReport& plan) {
  const bool has_any = std::ranges::any_of(
      plan.siblings, [](const Sibling& sibling) { return !sibling.pool.empty(); });
  if (!has_any || options_.overrides.allow_shared_origin) return;
  const auto runs = [&] { return journal.all_runs(); };
  for (const Sibling& sibling : siblings_elsewhere(journal.record().limits(), 1, runs)) {
    if (sibling.reason) throw *sibling.reason;
    if (sibling.unreadable) continue;  // removed just now
    if (sibling.harmed_blocks > 0) throw newly_harmed(sibling);
  }
}

}  // namespace extmerge
