// SPDX-License-Identifier: GPL-3.0-or-later
//
// One function per command: from options to a report on standard output.

#pragma once

#include <vector>

#include "cli/options.h"
#include "cli/show/terminal_line.h"
#include "cli/signals.h"

namespace extmerge {

// Returns what stands in the report and is a failure all the same (refusals, a
// difference, a damaged journal in a list); the first of them decides the exit
// status. Throws what leaves nothing to report.
std::vector<Error> execute(const Options& options, Signals& signals, TerminalLine& terminal);

}  // namespace extmerge
