// SPDX-License-Identifier: GPL-3.0-or-later
//
// --with: the older volumes of the chain that the merge gives up. They are no siblings: nobody
// expects their contents any more. So they must be inactive until the merge is done.

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/source/lvm/chain.h"
#include "cli/source/lvm/volume_source.h"
#include "io/text.h"

namespace extmerge {

// The named ones, those of the merge that this command carries out, and those that the record has
// of a merge that is to be continued or undone.
std::vector<LogicalVolume> VolumeSource::given_up_volumes() const {
  std::vector<LogicalVolume> volumes;
  const auto add = [&](const std::string& uuid) {
    const LogicalVolume* const now = volume_.group.find_by_uuid(uuid);
    if (now && std::ranges::find(volumes, uuid, &LogicalVolume::uuid) == volumes.end())
      volumes.push_back(*now);
  };
  for (const LogicalVolume& member : members_) add(member.uuid);
  for (const LogicalVolume& member : kept_inactive_) add(member.uuid);
  if (!changes_.given_up.empty() && is_ours()) {
    const auto begun = intents_.journal();
    const bool is_of_use = begun && begun->thin == merged_thin() &&
                           (is_under_way(begun->state) || request_.command == Command::kUndo);
    for (const Member& member : changes_.given_up) {
      if (is_of_use) add(member.uuid);
    }
  }
  std::ranges::stable_sort(volumes, std::ranges::greater(),
                           [](const LogicalVolume& one) { return one.transaction_id.value_or(0); });
  return volumes;
}

// Whether the origin may have data of the recorded merge: its journal is in place. A merge without
// a freeze is not told from the one before, so that counts as well.
bool VolumeSource::may_have_written() const {
  const auto begun = intents_.journal();
  if (!begun || begun->state == JournalState::kIntent || begun->state == JournalState::kUndone)
    return false;
  const auto frozen_one = intents_.frozen_thin();
  return frozen_one ? begun->thin == *frozen_one : changes_.freeze.empty();
}

std::vector<std::string> VolumeSource::given_up() const {
  std::vector<std::string> names;
  for (const LogicalVolume& member : given_up_volumes()) names.push_back(member.full_name());
  return names;
}

// The recorded freeze needs no protection while its snapshot exists: that has all its data. A
// freeze that is not in the record may be the only copy of its data, whatever its tags say.
void VolumeSource::leave_out_freeze(std::vector<OriginUser>& users) const {
  const LogicalVolume* const freeze = frozen();
  if (!freeze || !volume_.group.find_by_uuid(changes_.thin_uuid)) return;
  if (changes_.freeze_id && freeze->thin_id != changes_.freeze_id) return;
  std::erase_if(users, [&](const OriginUser& user) { return user.name == freeze->full_name(); });
}

// Neither the recorded freeze nor a volume that is given up needs protection.
void VolumeSource::leave_out_own(std::vector<OriginUser>& users) const {
  leave_out_freeze(users);
  for (const LogicalVolume& member : given_up_volumes()) {
    std::erase_if(users, [&](const OriginUser& user) { return user.name == member.full_name(); });
  }
}

void VolumeSource::find_own_members() {
  members_ = find_members(volume_, request_, changes_.given_up);
}

// By the last listing, which may be younger than the one that was planned by.
void VolumeSource::check_members() const {
  for (const LogicalVolume& member : members_) {
    if (const auto* const now = volume_.group.find_by_uuid(member.uuid))
      check_member(volume_, *now);
  }
  check_inactive(given_up_volumes());
}

void VolumeSource::give_up_members() {
  check_members();
  if (members_.empty()) return;
  std::vector<LogicalVolume> present;
  for (const LogicalVolume& member : members_) {
    if (const auto* const now = volume_.group.find_by_uuid(member.uuid)) present.push_back(*now);
  }
  intents_.give_up(present);
  const std::vector<std::string> names = given_up();
  spdlog::info("{} {} given up: contents are lost from the first write on",
               printable(some_of(names)), names.size() == 1 ? "is" : "are");
}

// After a new listing. LVM knows volumes by name, and another may have the name by now.
void VolumeSource::check_members_are_marked() const {
  for (const LogicalVolume& member : members_) {
    const LogicalVolume* const now = volume_.group.find_by_uuid(member.uuid);
    if (!now || now->has_tag(kGivenUpTag)) continue;
    throw Error(MessageId::kStale, "LVM has not marked " + now->full_name() + ", which is given up",
                "nothing was written to the origin: see lvs -a -o +tags, then run the same command "
                "again");
  }
}

namespace {

// Older volumes of the chain that the merge would change: the user may not need them any more.
Error or_give_up(const Error& refusal, const PlanReport& report) {
  std::string harmed;
  for (const Sibling& sibling : report.siblings) {
    const bool is_older = std::ranges::find(report.chain, sibling.name) != report.chain.end();
    if (!is_older || sibling.harmed_blocks == 0) continue;
    harmed += (harmed.empty() ? "" : ",") + sibling.name.substr(sibling.name.find('/') + 1);
  }
  for (const std::string& name : harmed.empty() ? std::vector<std::string>{} : report.given_up)
    harmed += "," + name.substr(name.find('/') + 1);
  return harmed.empty() ? refusal
                        : Error(refusal.id(), refusal.what(),
                                refusal.next() +
                                    "; to destroy the contents of older volumes of this chain, "
                                    "give them up: --with " +
                                    harmed);
}

}  // namespace

void VolumeSource::complete_chain(PlanReport& report) const {
  describe_chain(report);
  for (Error& refusal : report.refusals) {
    if (refusal.id() == MessageId::kSharedOrigin) refusal = or_give_up(refusal, report);
  }
  try {
    check_members();
  } catch (const Error& error) {
    report.refusals.push_back(error);
  }
  for (const std::string& name : report.given_up) {
    if (std::ranges::find(report.chain, name) != report.chain.end()) continue;
    report.notes.push_back(
        name + " is given up, although neither LVM nor the mappings show it as a parent of " +
        thin_name());
  }
}

void VolumeSource::describe_chain(PlanReport& report) const {
  report.chain = chain_of(volume_, report.older);
  report.given_up = given_up();
}

}  // namespace extmerge
