// SPDX-License-Identifier: GPL-3.0-or-later
//
// Volumes of LVM for tests, as lvs would list them. Names serve as uuids.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/source/lvm/report.h"

namespace extmerge {

inline LogicalVolume volume(const std::string& name, const std::string& segment_type = "linear") {
  LogicalVolume made;
  made.vg = "vg";
  made.name = made.uuid = name;
  made.segment_type = segment_type;
  return made;
}

inline LogicalVolume thin(const std::string& name, uint64_t id, std::vector<std::string> ancestors,
                          const std::string& pool = "pool") {
  LogicalVolume made = volume(name, "thin");
  made.thin_id = id;
  made.pool = pool;
  if (!ancestors.empty()) made.origin = ancestors.front();
  made.ancestors = std::move(ancestors);
  return made;
}

}  // namespace extmerge
