// SPDX-License-Identifier: GPL-3.0-or-later
//
// Questions on the terminal. Standard input and standard error must both be terminals. So a pipe, a
// timer or a service neither waits at a question nor answers one.

#pragma once

#include <stop_token>
#include <string>

namespace extmerge {

bool can_ask();

// True for y or yes. The end of input counts as no. Throws Error(kStopped) if a stop is requested
// before the answer.
bool ask(const std::string& question, std::stop_token stop);

}  // namespace extmerge
