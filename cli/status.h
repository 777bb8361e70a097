// SPDX-License-Identifier: GPL-3.0-or-later
//
// status: what the journals say.

#pragma once

#include <vector>

#include "cli/options.h"
#include "io/error.h"

namespace extmerge {

// Returns the damage of each journal in a list that cannot be read.
std::vector<Error> status(const Options& options);

}  // namespace extmerge
