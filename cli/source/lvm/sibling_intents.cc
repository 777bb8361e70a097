// SPDX-License-Identifier: GPL-3.0-or-later
//
// Siblings are activated while they get their own copies of blocks, with one run of LVM for all.

#include <spdlog/spdlog.h>

#include "cli/source/lvm/intents.h"
#include "io/text.h"

namespace extmerge {

void Intents::activate_siblings(const std::vector<const LogicalVolume*>& thins) {
  if (thins.empty()) return;
  std::vector<std::string> words = {"lvchange", "-ay", "-K"};
  for (const LogicalVolume* const thin : thins) {
    record_.siblings.push_back(thin->uuid);
    words.push_back(thin->full_name());
  }
  record_.boot = boot_id();
  recorded_.write();
  lvm_.run(words, "see lvs -a; nothing was written to the origin", Lvm::Udev::kUntold);
}

void Intents::activate_sibling_pool(const LogicalVolume& pool) {
  check_stays_writable(pool);
  record_.sibling_pools.push_back(pool.uuid);
  record_.boot = boot_id();
  recorded_.write();
  lvm_.run({"lvchange", "-ay", pool.full_name()},
           "see lvs -a and the kernel's log (thin_check may have found damage)");
}

void Intents::deactivate_siblings() const {
  std::vector<std::string> words = {"lvchange", "-an"};
  for (const std::string& uuid : record_.siblings) {
    const LogicalVolume* const thin = volume_.group.find_by_uuid(uuid);
    if (thin && is_active_now(*thin)) words.push_back(present_name(*thin));
  }
  if (words.size() == 2) return;
  try {
    lvm_.run(words, "", Lvm::Udev::kUntold);
  } catch (const Error& error) {
    if (error.id() == MessageId::kStopped) throw;  // the next command does it
    spdlog::warn("siblings stay active: {}", printable(error.what()));
  }
}

void Intents::release_pool() const {
  const LogicalVolume* const pool = volume_.group.find_pool(record_.pool_uuid);
  const bool is_used = runs_elsewhere(
      request_, recorded_.place,
      [this](const SystemChanges& changes) { return changes.pool_uuid == record_.pool_uuid; });
  if (!pool || !is_used) return deactivate(pool);
  spdlog::warn("{} stays active: another extmerge works on it", printable(pool->full_name()));
}

}  // namespace extmerge
