// SPDX-License-Identifier: GPL-3.0-or-later
//
// merge and resume, of any source.

#pragma once

#include <vector>

#include "cli/options.h"
#include "cli/show/report.h"
#include "cli/show/terminal_line.h"
#include "cli/signals.h"
#include "cli/source/source.h"

namespace extmerge {

std::vector<Error> merge(const Options& options, Signals& signals, TerminalLine& terminal);
std::vector<Error> resume(const Options& options, Signals& signals, TerminalLine& terminal);

// The devices of a job, and what people call them.
DeviceNames names_of(const Source& source, const Job& job);
// Before any device is looked at.
DeviceNames names_before(const Source& source);

}  // namespace extmerge
