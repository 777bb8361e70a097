// SPDX-License-Identifier: GPL-3.0-or-later
//
// The changes that a merge with --with makes to the older volumes of the chain. Their tag and
// activation skip stay as long as their contents are lost: no boot offers such a mixture.

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/source/lvm/chain.h"
#include "cli/source/lvm/intents.h"
#include "io/text.h"

namespace extmerge {

void Intents::give_up(const std::vector<LogicalVolume>& members) {
  for (const LogicalVolume& member : members) {
    if (std::ranges::find(record_.given_up, member.uuid, &Member::uuid) != record_.given_up.end())
      continue;
    record_.given_up.push_back(
        {member.name, member.uuid, member.has_tag(kGivenUpTag), member.skips_activation});
  }
  if (record_.given_up.empty()) return;
  recorded_.write();
  for (const LogicalVolume& member : members) {
    if (member.has_tag(kGivenUpTag) && member.skips_activation) continue;
    change({"-ky", "--addtag", kGivenUpTag}, member, "see lvs -a -o +tags");
  }
}

// A volume that an earlier merge had marked has lost its contents before.
void Intents::release_members() {
  for (const Member& member : record_.given_up) {
    const LogicalVolume* const now = volume_.group.find_by_uuid(member.uuid);
    if (!now || member.was_marked) continue;
    std::vector<std::string> words = {"--deltag", kGivenUpTag};
    if (!member.skipped_activation) words.insert(words.begin(), "-kn");
    change(words, *now, "see lvs -a -o +tags");
  }
  record_.given_up.clear();
}

// Each one by its uuid, and only while it is inactive: LVM looks when it has the group locked.
void Intents::remove_member(const LogicalVolume& member) {
  check_member_alone(member);
  const std::string name = member.full_name(), uuid = member.uuid;
  std::optional<Error> failure;
  try {
    lvm_.run({"lvremove", "-y", "-S", "lv_uuid=" + uuid + " && lv_active!=active", member.vg},
             "find out which program uses it (fuser -v, lsblk), then run the same command again");
  } catch (const Error& error) {
    failure = error;  // LVM may have removed it all the same
  }
  volume_.list_again(lvm_);
  if (!volume_.group.find_by_uuid(uuid)) return;
  if (failure) throw *failure;
  throw Error(MessageId::kMemberInUse, name + " was activated just now: it is not removed",
              "deactivate it (lvchange -an " + name + "), and run the same command again");
}

void Intents::check_member_alone(const LogicalVolume& member) const {
  const auto dependents = dependents_of(volume_.group, member.uuid);
  if (dependents.empty()) return;
  throw Error(MessageId::kNotInChain,
              member.full_name() + " is not removed: it is the origin of " + some_of(dependents) +
                  ", which LVM would remove with it",
              "merge or remove " + some_of(dependents) + ", then run the same command again");
}

std::vector<std::string> Intents::remove_members() {
  const auto age = [this](const Member& member) {
    const LogicalVolume* const now = volume_.group.find_by_uuid(member.uuid);
    return now ? now->transaction_id.value_or(0) : 0;
  };
  std::ranges::stable_sort(record_.given_up, std::ranges::greater(), age);
  std::vector<std::string> removed;
  while (!record_.given_up.empty()) {
    const LogicalVolume* const now = volume_.group.find_by_uuid(record_.given_up.front().uuid);
    if (now && now->has_tag(kGivenUpTag)) {
      removed.push_back(now->full_name());
      remove_member(LogicalVolume(*now));
    } else if (now) {
      spdlog::warn("{} stays: its tag {} was removed", printable(now->full_name()), kGivenUpTag);
    }
    record_.given_up.erase(record_.given_up.begin());
    recorded_.write();
  }
  return removed;
}

}  // namespace extmerge
