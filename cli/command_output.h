// SPDX-License-Identifier: GPL-3.0-or-later
//
// Output that the commands share: names, progress and reports.

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

// Opens the source for a command that changes nothing but prints a report. A named source holds
// things, so it must be released before the program ends: release_source().
std::unique_ptr<Source> open_held_source(const Options& options);
void release_source(std::unique_ptr<Source>& source);

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
// Prints a line on standard error.
void say(const std::string& notice);

}  // namespace extmerge
