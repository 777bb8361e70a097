// SPDX-License-Identifier: GPL-3.0-or-later
//
// The commands: each turns options into a report on standard output.

#pragma once

#include <vector>

#include "cli/options.h"
#include "cli/show/terminal_line.h"
#include "cli/signals.h"

namespace extmerge {

// Returns the failures that the report shows: refusals, a difference, a damaged journal in a list.
// The first one decides the exit status. A failure that leaves nothing to report is thrown.
std::vector<Error> execute(const Options& options, Signals& signals, TerminalLine& terminal);

// One command each, for execute():
std::vector<Error> merge(const Options& options, Signals& signals, TerminalLine& terminal);
std::vector<Error> resume(const Options& options, Signals& signals, TerminalLine& terminal);
std::vector<Error> status(const Options& options);
std::vector<Error> export_map(const Options& options, Signals& signals, TerminalLine& terminal);
std::vector<Error> abort_merge(const Options& options);

}  // namespace extmerge
