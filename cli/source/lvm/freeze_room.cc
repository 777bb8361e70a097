// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/freeze_room.h"

#include <cerrno>
#include <fstream>

#include "cli/source/dm/device_mapper.h"
#include "io/sysfs.h"
#include "io/text.h"

namespace extmerge {

namespace {

// LVM writes the metadata as text. These are the lengths in the text of LVM 2.03.16, rounded up.
constexpr uint64_t kMark = 96;     // a tag and the activation skip of a volume that has neither
constexpr uint64_t kFreeze = 768;  // without the names of its pool, its parents and this host
constexpr uint64_t kLongestHost = 64;

}  // namespace

uint64_t metadata_of_merge(const ThinVolume& volume, bool has_freeze, size_t members) {
  const uint64_t marks = kMark * (1 + members);
  if (!has_freeze) return marks;
  return marks + kFreeze + kLongestHost + volume.pool.name.size() + volume.snap.name.size() +
         volume.origin.name.size();
}

Refusal judge_metadata_area(const ThinVolume& volume, bool has_freeze, size_t members) {
  const uint64_t needed = metadata_of_merge(volume, has_freeze, members);
  if (!volume.snap.vg_metadata_free || *volume.snap.vg_metadata_free >= needed) return {};
  const std::string& vg = volume.snap.vg;
  return Error(MessageId::kLvmRefused,
               "the metadata area of the volume group " + vg + " has " +
                   std::to_string(*volume.snap.vg_metadata_free) +
                   " free bytes, and a merge needs " + std::to_string(needed) +
                   " for its freeze and its marks",
               "remove volumes or tags that nobody needs (vgs -o +vg_mda_size,vg_mda_free " + vg +
                   "), then run the same command again");
}

bool has_module(const std::filesystem::path& folder, const std::string& module) {
  const std::string file = "/" + module + ".ko";  // or .ko.xz, .ko.zst
  for (const char* list : {"modules.dep", "modules.builtin"}) {
    errno = 0;
    std::ifstream lines(folder / list);
    if (!lines && errno != ENOENT) return true;
    for (std::string line; std::getline(lines, line);) {
      if (line.substr(0, line.find(':')).find(file) != std::string::npos) return true;
    }
  }
  return false;
}

std::string way_without_snapshot_target(const LogicalVolume& snap) {
  return "load the kernel's module dm-snapshot (modprobe dm-snapshot), which LVM wants for every "
         "snapshot, or deactivate " +
         snap.full_name() + " (lvchange -an); then run the same command again";
}

Refusal judge_snapshot_target(const ThinVolume& volume) {
  if (has_dm_target("snapshot")) return {};
  const std::string release = required_text(SystemRoot{}, "/proc/sys/kernel/osrelease");
  if (has_module("/lib/modules/" + release, "dm-snapshot")) return {};
  return Error(MessageId::kLvmRefused,
               volume.snap.full_name() + " cannot be frozen: the kernel lacks dm-snapshot",
               way_without_snapshot_target(volume.snap));
}

}  // namespace extmerge
