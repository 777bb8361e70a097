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

namespace extmerge {

ProgressDisplay::Settings display_settings(const Options& options, const DeviceNames& names);

ProgressDisplay::LinesAsked lines_asked(const Signals& signals);

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
// Asks before an undo, and says how much it puts back.
bool confirm_undo(const Options& options, const UndoReport& report, ProgressDisplay& display,
                  Signals& signals, TerminalLine& terminal);
void print_undo_report(const Options& options, const UndoReport& report);

}  // namespace extmerge
