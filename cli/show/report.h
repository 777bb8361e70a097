// SPDX-License-Identifier: GPL-3.0-or-later
//
// The reports as an administrator reads them: aligned lines, a fact a line.
// cli/show/json.h has the same for programs.

#pragma once

#include <string>
#include <vector>

#include "cli/show/size.h"
#include "cli/source/change_record.h"
#include "cli/source/merge_status.h"
#include "merge/merge.h"

namespace extmerge {

// The devices of a report, as absolute paths.
struct DeviceNames {
  std::string metadata;
  std::string data;
  std::string origin;
  // As people call them, where the source was named: vg/snap, vg/origin.
  std::string thin_name, origin_name;
};

// Names five siblings and counts the others, unless all are asked for.
std::string plan_text(const PlanReport& report, const DeviceNames& names, const SizeFormat& sizes,
                      bool all_siblings = false);
std::string merge_text(const MergeReport& report, const DeviceNames& names,
                       const SizeFormat& sizes);
std::string verify_text(const VerifyReport& report, const DeviceNames& names,
                        const SizeFormat& sizes);
std::string undo_text(const UndoReport& report, const SizeFormat& sizes);
std::string status_text(const MergeStatus& status, const SizeFormat& sizes,
                        const std::optional<SystemChanges>& changes);
// What a merge of a named source has changed, a fact a line; nothing if all is put back.
std::string changes_text(const SystemChanges& changes);
// One line a merge.
std::string status_table(const std::vector<MergeStatus>& all, bool headings,
                         const SizeFormat& sizes);

// The whole question, up to and with "[y/N] ".
std::string question(const PlanReport& report, const DeviceNames& names, bool finish);

// How much of a plan was compared for --map, as a fact about it.
std::string compared_text(const OriginMap& map, const SizeFormat& sizes);

// plan --ranges
std::string ranges_heading();
std::string ranges_line(const Run& run);

const char* verified_text(VerifyChoice choice);

// What a difference found by verify is as a failure.
Error difference_error(const VerifyReport& report, const DeviceNames& names);

}  // namespace extmerge
