// SPDX-License-Identifier: GPL-3.0-or-later
//
// Output that the commands share: questions, progress and reports.

#pragma once

#include <memory>
#include <string>

#include "cli/options.h"
#include "cli/show/output_file.h"
#include "cli/show/picture.h"
#include "cli/show/progress_display.h"
#include "cli/show/report.h"
#include "cli/show/terminal_line.h"
#include "cli/signals.h"
#include "cli/source/source.h"

namespace extmerge {

// The devices of a job, and what people call them.
DeviceNames names_of(const Source& source, const Job& job);
// Before any device is looked at.
DeviceNames names_before(const Source& source);

// Shows `progress` for the lifetime of the display. All references must outlive it.
ProgressDisplay show_progress(const Progress& progress, const Options& options,
                              const DeviceNames& names, const Signals& signals,
                              TerminalLine& terminal);

// The file of --map, null without --map. Made first, so that a file in the way is refused at once.
std::unique_ptr<OutputFile> map_file(const Options& options);
void draw_map(const Options& options, OutputFile& file, const Picture& picture);

// -qq suppresses text. JSON is always printed, because the user asked for it.
void print_report(const Options& options, const std::string& text, const std::string& json);
// The merge is done: if its report is lost, the error says not to merge again.
void print_merge_report(const Options& options, const MergeReport& report,
                        const DeviceNames& names);
// Prints the status of a merge that the command found done.
void print_status_report(const Options& options, const MergeStatus& status);
// Prints a line on standard error.
void say(const std::string& notice);

// Shows the plan and asks. Returns true at once with --yes.
bool confirm(const Options& options, const PlanReport& report, const DeviceNames& names,
             ProgressDisplay& display, Signals& signals, TerminalLine& terminal);

}  // namespace extmerge
