// SPDX-License-Identifier: GPL-3.0-or-later
//
// merge, resume and abort of a source that has a name (cli/named_source.h).

#pragma once

#include <vector>

#include "cli/named_source.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/terminal_line.h"

namespace extmerge {

std::vector<Error> merge_named(const Options& options, Signals& signals, TerminalLine& terminal);
std::vector<Error> resume_named(const Options& options, NamedSource& source, Signals& signals,
                                TerminalLine& terminal);
// Also of a merge of plain devices: there it removes the journal.
std::vector<Error> abort_merge(const Options& options);

// `undo` of a named source that is there; one that `merge --finish` removed is of plain devices.
std::vector<Error> undo_named(const Options& options, NamedSource& source, Signals& signals,
                              TerminalLine& terminal);

}  // namespace extmerge
