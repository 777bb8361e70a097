// SPDX-License-Identifier: GPL-3.0-or-later
//
// Where messages go: standard error, prefixed with the program's name, and with
// --log-file a file, with time and level. Everything is said through spdlog;
// this is the only place that configures it.
//
//   error   failures, always shown
//   warn    notes: worth knowing before a merge; not with -q
//   info    what happened during one; not with -q
//   debug   what was opened and found; with -v
//   trace   the same from libraries; with -vv

#pragma once

#include <memory>
#include <string>

#include "cli/options.h"
#include "cli/show/terminal_line.h"

namespace extmerge {

// At the start, before options are known: errors to `terminal`, no file.
void start_log(std::shared_ptr<TerminalLine> terminal);

// Throws what open_log_file() throws (cli/log_file.h).
void configure_log(const Options& options, std::shared_ptr<TerminalLine> terminal);

// "EXM-403: what happened", and on the next line what to do.
void log_error(const Error& error);

}  // namespace extmerge
