// SPDX-License-Identifier: GPL-3.0-or-later
//
// Asks on the terminal. Only where a person can both read the question and
// answer it: standard input and standard error must be terminals, so that a
// pipe, a timer or a service never hangs in a question and never answers one.

#pragma once

#include <stop_token>
#include <string>

namespace extmerge {

bool can_ask();

// True for y or yes. The end of input is no. Throws Error(kStopped) if a stop is
// requested before the answer.
bool ask(const std::string& question, std::stop_token stop);

}  // namespace extmerge
