// SPDX-License-Identifier: GPL-3.0-or-later
//
// The reports as text: aligned lines, one fact per line. cli/show/json.h has them for programs.

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
  std::string target{};  // of a copy
  // Names of a named source: vg/snap, vg/origin.
  std::string thin_name, origin_name;
};

// One line of a report; control characters in the value are escaped.
std::string report_line(const std::string& label, const std::string& value);

// Names five siblings and counts the others, unless `all_siblings`.
std::string plan_text(const PlanReport& report, const DeviceNames& names, const SizeFormat& sizes,
                      bool all_siblings = false);
std::string merge_text(const MergeReport& report, const DeviceNames& names,
                       const SizeFormat& sizes);
std::string verify_text(const VerifyReport& report, const DeviceNames& names,
                        const SizeFormat& sizes);
std::string undo_text(const UndoReport& report, const SizeFormat& sizes);
// plan --export
std::string contents_text(const ContentsReport& report, const DeviceNames& names,
                          const std::string& path, const SizeFormat& sizes);
std::string status_text(const MergeStatus& status, const SizeFormat& sizes,
                        const std::optional<SystemChanges>& changes);
// The changes by a merge of a named source, one per line; empty if all are put back.
std::string changes_text(const SystemChanges& changes);
// One line per merge.
std::string status_table(const std::vector<MergeStatus>& all, bool headings,
                         const SizeFormat& sizes);

// The whole question, up to and with "[y/N] ".
std::string question(const PlanReport& report, const DeviceNames& names, bool ends_use);

// How much of the plan was compared for --map.
std::string compared_text(const OriginMap& map, const SizeFormat& sizes);

// plan --ranges
std::string ranges_heading();
std::string ranges_line(const Run& run);

const char* verified_text(VerifyChoice choice);

// The failure for a difference that verify found.
Error difference_error(const VerifyReport& report, const DeviceNames& names);

}  // namespace extmerge
