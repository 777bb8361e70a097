// SPDX-License-Identifier: GPL-3.0-or-later
//
// The reports as one JSON document each: schema "extmerge/1", sizes are integers in bytes, unknown
// values are null. docs/command-line.md lists every member; a member is only ever added, never
// renamed, while the schema is 1.

#pragma once

#include <string>
#include <vector>

#include "cli/show/report.h"

namespace extmerge {

std::string plan_json(const PlanReport& report, const DeviceNames& names);
std::string merge_json(const MergeReport& report, const DeviceNames& names);
std::string verify_json(const VerifyReport& report, const DeviceNames& names);
std::string undo_json(const UndoReport& report);
// plan --export
std::string contents_json(const ContentsReport& report, const DeviceNames& names,
                          const std::string& path);
std::string abort_json(const std::string& journal, const std::string& origin, Bytes copied);
std::string status_json(const MergeStatus& status, const std::optional<SystemChanges>& changes);
// The status of a merge that has made changes but has no journal yet.
std::string changes_json(const SystemChanges& changes);
std::string status_list_json(const std::vector<MergeStatus>& all);
// A failure instead of a report.
std::string error_json(const Error& error);

}  // namespace extmerge
