// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the commands have in common: how they ask, show progress and report.

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

// The file of --map, null without that. Made before anything else is done: what is in the way is
// refused at once.
std::unique_ptr<OutputFile> map_file(const Options& options);
void draw_map(const Options& options, OutputFile& file, const Picture& picture);

// Text is left out with -qq; JSON was asked for, so it is always printed.
void print_report(const Options& options, const std::string& text, const std::string& json);
// Of a merge that is done: nothing to run again, whatever becomes of the report.
void print_merge_report(const Options& options, const MergeReport& report,
                        const DeviceNames& names);
// The status of a merge, as the report of a command that found it done.
void print_status_report(const Options& options, const MergeStatus& status);
// A line on standard error.
void say(const std::string& notice);

// Shows the plan with its notes and asks; true at once with --yes.
bool confirm(const Options& options, const PlanReport& report, const DeviceNames& names,
             ProgressDisplay& display, Signals& signals, TerminalLine& terminal);
// The same for undo: what would be put back.
bool confirm_undo(const Options& options, const UndoReport& report, ProgressDisplay& display,
                  Signals& signals, TerminalLine& terminal);
void print_undo_report(const Options& options, const UndoReport& report);

}  // namespace extmerge
