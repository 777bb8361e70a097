// SPDX-License-Identifier: GPL-3.0-or-later
//
// Messages go to standard error, prefixed with the program's name. With --log-file they also go to
// a file, with time and level. All messages go through spdlog; only this file configures it.
//
//   error   failures, always shown
//  warn    notes before a merge; not with -q
//  info    events during a merge; not with -q
//  debug   files and devices opened, facts found; with -v
//   trace   the same from libraries; with -vv

#pragma once

#include <memory>
#include <string>

#include "cli/options.h"
#include "cli/show/terminal_line.h"

namespace extmerge {

// Sends errors to `terminal` until the options are known.
void start_log(std::shared_ptr<TerminalLine> terminal);

// Throws as open_log_file() does (cli/log_file.h).
void configure_log(const Options& options, std::shared_ptr<TerminalLine> terminal);

// Prints "EXM-403: what happened", and the cure on the next line.
void log_error(const Error& error);

}  // namespace extmerge
