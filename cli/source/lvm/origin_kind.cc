// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/origin_kind.h"

#include <algorithm>
#include <sstream>
#include <string_view>

#include "cli/source/dm/device_mapper.h"
#include "io/error.h"
#include "io/text.h"

namespace extmerge {

namespace {

constexpr const char* kCopy =
    "copy the thin to a new volume instead (dd; see extmerge-recovery(7))";

bool is_cache(const LogicalVolume& volume) {
  return volume.segment_type == "cache" || volume.segment_type == "writecache";
}

bool is_fit(std::string_view segment_type) {
  for (const char* fit : {"linear", "striped", "mirror", "cache", "writecache", "thin"}) {
    if (segment_type == fit) return true;
  }
  return segment_type.starts_with("raid");  // raid1, raid5_ls, ...
}

void check_segments(const Group& group, const LogicalVolume& part) {
  if (!is_fit(part.segment_type)) {
    throw unfit_origin(part, "a " + part.segment_type + " volume, which extmerge does not write to",
                       kCopy);
  }
  if (part.segment_type != "cache") return;
  const LogicalVolume* const pool = group.find(part.pool);
  if (pool && pool->segment_type == "cache-pool") return;
  throw unfit_origin(
      part,
      "a cache with a cachevol, which LVM cannot refresh below a thin: volumes would "
      "stay suspended",
      "deactivate all thins over it (lvchange -an) and remove the cache (lvconvert "
      "--uncache " +
          part.full_name() + "), then run the same command again");
}

// The number of failed legs that a raid of that type survives; nothing if it depends on the legs.
std::optional<size_t> spare_legs(const std::string& type, size_t legs) {
  if (type == "raid1" || type == "mirror") return legs - 1;
  if (type.starts_with("raid0")) return 0;
  if (type.starts_with("raid10")) return {};
  return type.starts_with("raid6") ? 2 : 1;
}

// "16384/16384"
bool is_complete(const std::string& ratio) {
  const size_t slash = ratio.find('/');
  return slash != std::string::npos && ratio.substr(0, slash) == ratio.substr(slash + 1);
}

// The words of a status line, as those of a raid.
bool parse_raid(std::istream& words, RaidState& state) {
  size_t legs = 0;
  std::string ratio;
  if (!(words >> state.type >> legs >> state.health >> ratio)) return false;
  state.in_sync = is_complete(ratio);
  return state.health.size() == legs;
}

bool parse_mirror(std::istream& words, RaidState& state) {
  size_t legs = 0;
  std::string word, ratio;
  if (!(words >> legs)) return false;
  for (size_t i = 0; i < legs; ++i) words >> word;
  if (!(words >> ratio >> word >> state.health)) return false;
  state.type = "mirror";
  state.in_sync = is_complete(ratio);
  return state.health.size() == legs;
}

}  // namespace

Error unfit_origin(const LogicalVolume& origin, const std::string& what, const std::string& next) {
  return Error(MessageId::kUnfitOrigin, "the external origin " + origin.full_name() + " is " + what,
               next);
}

// The kind of the segments comes first: `lvs` also shows the hidden volume below a cache, or the
// parent of a thin, as an origin.
void check_origin_kind(const Group& group, const LogicalVolume& origin) {
  for (const LogicalVolume& part : group.volumes()) {
    if (part.uuid == origin.uuid) check_segments(group, part);
  }
  if (!origin.origin.empty() && !is_cache(origin) && !origin.is_thin()) {
    throw unfit_origin(
        origin, "an old-style snapshot of " + origin.origin + ", which a merge may fill up", kCopy);
  }
  for (const LogicalVolume& volume : group.volumes()) {
    if (volume.origin != origin.name || volume.is_thin()) continue;
    throw unfit_origin(origin,
                       "also the origin of the old-style snapshot " + volume.full_name() +
                           ", which a merge would spoil",
                       "remove that snapshot (lvremove " + volume.full_name() +
                           ") and run the same command again");
  }
}

std::string RaidState::trouble() const {
  const auto failed = std::ranges::count(health, 'D');
  if (!is_whole) {
    return "has lost " + plural(static_cast<uint64_t>(failed), "leg") + " (" + health +
           "), more than a " + type + " survives";
  }
  if (failed != 0) {
    return "is degraded (" + health +
           "): its failed legs do not get the merged data until they are repaired";
  }
  return in_sync && std::ranges::count(health, 'a') == 0
             ? ""
             : "is not in sync yet (" + health + "): the merge is slower until it is";
}

std::optional<RaidState> parse_raid_state(const std::string& type, const std::string& words) {
  RaidState state;
  std::istringstream stream(words);
  const bool is_raid = type == "raid" && parse_raid(stream, state);
  const bool is_mirror = type == "mirror" && parse_mirror(stream, state);
  if (!is_raid && !is_mirror) return {};
  const auto failed = static_cast<size_t>(std::ranges::count(state.health, 'D'));
  const auto spare = spare_legs(state.type, state.health.size());
  state.is_whole = failed <= spare.value_or(state.health.size() / 2);
  return state;
}

std::optional<RaidState> raid_state(uint64_t device_number) {
  const auto status = read_dm_status(device_number);
  if (status.size() != 1) return {};
  return parse_raid_state(status.front().type, joined(status.front().arguments, " "));
}

}  // namespace extmerge
