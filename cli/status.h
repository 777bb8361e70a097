// SPDX-License-Identifier: GPL-3.0-or-later
//
// The command status: shows what the journals record.

#pragma once

#include <vector>

#include "cli/options.h"
#include "io/error.h"

namespace extmerge {

// Returns an Error for each damaged journal of a list.
std::vector<Error> status(const Options& options);

}  // namespace extmerge
