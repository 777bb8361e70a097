// SPDX-License-Identifier: GPL-3.0-or-later
//
// Refusals before a change is put back, or the pool is changed.

#include "cli/source/dm/device_mapper.h"
#include "cli/source/lvm/intents.h"

namespace extmerge {

void Intents::check_not_only_copy(const LogicalVolume& freeze) const {
  const bool thin_exists = volume_.group.find_by_uuid(record_.thin_uuid) != nullptr;
  const auto begun = journal();
  const bool is_merged =
      begun && begun->state == JournalState::kDone && begun->thin == frozen_thin();
  if (thin_exists || is_merged) return;
  const std::string thin = record_.thin_name();
  throw Error(
      MessageId::kHalfMerged,
      thin + " was removed, and its freeze " + freeze.full_name() +
          " is the only copy of the data that is not merged yet",
      "finish the merge: extmerge " +
          (begun && begun->state == JournalState::kCopying ? "resume " + thin
                                                           : "merge " + freeze.full_name()) +
          "; to give that data up, remove the freeze by hand first (lvremove)");
}

// LVM loads a pool again when it is activated, or a thin of it is made or removed. With such a
// setting it loads the pool read-only, fails, and may leave its own metadata a transaction ahead.
void Intents::check_stays_writable(const LogicalVolume& pool) const {
  std::vector<LogicalVolume> parts = {pool};
  for (const std::string& part : {pool.data, pool.metadata}) {
    if (const LogicalVolume* const found = volume_.group.find(part)) parts.push_back(*found);
  }
  const std::string setting = lvm_.writing_hindrance(parts);
  if (setting.empty()) return;
  throw Error(MessageId::kActivationForbidden,
              "the pool " + pool.full_name() +
                  " may only be activated read-only on this "
                  "host: lvm.conf has " +
                  setting,
              "take the pool out of activation/read_only_volume_list, or run extmerge where it may "
              "be written to");
}

void Intents::check_pool_can_be_cleared(const LogicalVolume* freeze) const {
  const auto device = find_dm_device(volume_.pool.dm_uuid("-tpool"));
  if (!device || (!freeze && !record_.holding)) return;
  const PoolStatus status = pool_status(*device);
  if (status.takes_changes()) return;
  const std::string left = (freeze ? "the freeze " + freeze->full_name() : "") +
                           (freeze && record_.holding ? " and " : "") +
                           (record_.holding ? "a metadata snapshot of extmerge" : "");
  const std::string marks = record_.origin_marked
                                ? ""
                                : ". The marks of " + volume_.origin.full_name() + " and " +
                                      record_.thin_name() + " are put back";
  throw Error(MessageId::kUnfitPool,
              "the pool " + volume_.pool.full_name() + " is in mode '" + status.mode +
                  "' and keeps " + left + marks,
              "make the pool writable (lvs -o +lv_health_status, the kernel's log), then run the "
              "same command again: it removes these leftovers");
}

}  // namespace extmerge
