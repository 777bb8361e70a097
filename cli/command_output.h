// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the commands have in common: how they ask, show progress and report.

#pragma once

#include <string>

#include "cli/options.h"
#include "cli/progress_display.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/terminal_line.h"

namespace extmerge {

ProgressDisplay::Settings display_settings(const Options& options, const DeviceNames& names);

// Text is left out with -qq; JSON was asked for, so it is always printed.
void print_report(const Options& options, const std::string& text, const std::string& json);
// Of a merge that is done: nothing to run again, whatever becomes of the report.
void print_merge_report(const Options& options, const MergeReport& report,
                        const DeviceNames& names);
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
