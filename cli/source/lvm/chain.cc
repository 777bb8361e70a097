// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/chain.h"

#include <algorithm>
#include <ranges>

#include "io/error.h"
#include "io/text.h"

namespace extmerge {

namespace {

// Only a name that is left out can be wrong; the merge itself may be right.
Error not_in_chain(const LogicalVolume& member, const std::string& why, const std::string& next) {
  return Error(MessageId::kNotInChain, member.full_name() + " cannot be given up: " + why,
               "leave it out of --with" + next);
}

// The name without its group. Throws kUsage, kNotInChain.
std::string name_in_group(const std::string& word, const std::string& vg) {
  const size_t slash = word.find('/');
  const std::string group = slash == std::string::npos ? vg : word.substr(0, slash);
  const std::string name = slash == std::string::npos ? word : word.substr(slash + 1);
  if (!is_name(group) || !is_name(name)) {
    throw Error(MessageId::kUsage, "--with: '" + word + "' is no name of a volume",
                "name the volumes as LVM does: OLDER or VG/OLDER, with a comma between two");
  }
  if (group == vg) return name;
  throw Error(MessageId::kNotInChain,
              word + " cannot be given up: it is in another volume group than the snapshot",
              "leave it out of --with; it does not read this origin");
}

}  // namespace

std::vector<LogicalVolume> find_members(const ThinVolume& volume, const Request& request,
                                        const std::vector<Member>& recorded) {
  const Group& group = volume.group;
  std::vector<LogicalVolume> members;
  for (const std::string& word : request.with) {
    const std::string name = name_in_group(word, volume.snap.vg);
    const LogicalVolume* const found = group.find(name);
    if (!found) {
      const bool is_recorded = std::ranges::any_of(recorded, [&](const Member& member) {
        return member.name == name && !group.find_by_uuid(member.uuid);
      });
      if (is_recorded) continue;
      throw Error(MessageId::kNotFound,
                  "there is no volume called " + volume.snap.vg + "/" + name + " (--with)",
                  "look at lvs -a " + volume.snap.vg + ", and leave out a volume that is gone");
    }
    if (found->uuid == volume.snap.uuid) {
      throw Error(MessageId::kUsage,
                  "--with names " + found->full_name() + ", which is the snapshot to be merged",
                  "name only older volumes of its chain with --with");
    }
    if (std::ranges::find(members, found->uuid, &LogicalVolume::uuid) != members.end()) {
      throw Error(MessageId::kUsage, "--with names " + found->full_name() + " twice",
                  "name each volume once");
    }
    check_member(volume, *found);
    members.push_back(*found);
  }
  std::ranges::stable_sort(members, std::ranges::greater(), [](const LogicalVolume& member) {
    return member.transaction_id.value_or(0);
  });
  return members;
}

void check_member(const ThinVolume& volume, const LogicalVolume& member) {
  const Group& group = volume.group;
  const std::string origin = volume.origin.full_name(), snap = volume.snap.full_name();
  if (member.has_tag(kFreezeTag)) {
    throw not_in_chain(member, "it is a freeze that extmerge made", "; see extmerge status");
  }
  if (!member.is_thin() || !member.thin_id) {
    throw not_in_chain(member, "it is no thin volume", "; it does not read this origin");
  }
  const std::string over = group.external_origin(member);
  if (over != volume.origin.name || group.unclear_parent(member)) {
    throw not_in_chain(member,
                       over.empty() ? "it has no external origin"
                                    : "it is not known to read only the origin " + origin,
                       "; see lvs -o lv_name,lv_ancestors " + member.vg);
  }
  if (member.pool != volume.snap.pool) {
    throw not_in_chain(member,
                       "it is in the pool " + member.pool + ", and " + snap + " is in the pool " +
                           volume.snap.pool,
                       ", and merge or remove it first; or accept that it changes with "
                       "--allow-shared-origin");
  }
  // A later transaction made it, or it is a snapshot of SNAP. Then it may have newer data.
  const bool is_descendant =
      std::ranges::find(member.ancestors, volume.snap.name) != member.ancestors.end();
  if (is_descendant || member.transaction_id.value_or(0) > volume.snap.transaction_id.value_or(0)) {
    throw not_in_chain(member, "it is younger than " + snap,
                       "; merge the newest volume of the chain, and give up the older ones");
  }
  const auto dependents = dependents_of(group, member.uuid);
  if (dependents.empty()) return;
  throw not_in_chain(member,
                     "it is the origin of " + some_of(dependents) +
                         ", which would change, and which LVM removes with it",
                     ", or remove " + some_of(dependents) + " first");
}

void check_inactive(const std::vector<LogicalVolume>& members) {
  for (const LogicalVolume& member : members) {
    if (!is_active_now(member)) continue;
    const std::string name = member.full_name();
    throw Error(MessageId::kMemberInUse,
                name + " is " + (is_open_now(member) ? "open" : "active") +
                    ", and its contents change during the merge",
                (is_open_now(member) ? "unmount it (findmnt, fuser -v /dev/" + name + "), then "
                                     : std::string()) +
                    "deactivate it (lvchange -an " + name + "), and run the same command again");
  }
}

std::vector<std::string> chain_of(const ThinVolume& volume, const std::vector<ThinId>& older) {
  const Group& group = volume.group;
  std::vector<LogicalVolume> chain;
  // With the parents that LVM lists: a descendant has the ancestors of its ancestor.
  const auto add = [&](const LogicalVolume& thin) {
    std::vector<std::string> names = {thin.name};
    names.insert(names.end(), thin.ancestors.begin(), thin.ancestors.end());
    for (const std::string& name : names) {
      if (name == volume.origin.name) break;
      const LogicalVolume* const one = group.find(name);
      if (one && std::ranges::find(chain, one->uuid, &LogicalVolume::uuid) == chain.end())
        chain.push_back(*one);
    }
  };
  add(volume.snap);
  for (const LogicalVolume& one : group.volumes()) {
    if (one.pool != volume.snap.pool || !one.is_thin() || !one.thin_id) continue;
    if (std::ranges::find(older, static_cast<ThinId>(*one.thin_id)) != older.end()) add(one);
  }
  std::ranges::stable_sort(chain, std::ranges::less(),
                           [](const LogicalVolume& one) { return one.transaction_id.value_or(0); });
  std::vector<std::string> names = {volume.origin.full_name()};
  for (const LogicalVolume& one : chain) names.push_back(one.full_name());
  return names;
}

std::vector<ThinId> perhaps_older(const ThinVolume& volume) {
  const LogicalVolume& snap = volume.snap;
  std::vector<ThinId> ids;
  for (const LogicalVolume& one : volume.group.volumes()) {
    const bool may_be = one.is_thin() && one.thin_id && one.pool == snap.pool &&
                        one.uuid != snap.uuid && !one.has_tag(kFreezeTag) &&
                        one.transaction_id.value_or(0) < snap.transaction_id.value_or(0);
    if (!may_be || volume.group.external_origin(one) != volume.origin.name) continue;
    if (std::ranges::find(snap.ancestors, one.name) == snap.ancestors.end())
      ids.push_back(static_cast<ThinId>(*one.thin_id));
  }
  return ids;
}

}  // namespace extmerge
