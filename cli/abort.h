// SPDX-License-Identifier: GPL-3.0-or-later
//
// The command abort: gives up an unfinished merge.

#pragma once

#include <vector>

#include "cli/options.h"
#include "io/error.h"

namespace extmerge {

// Puts back all but the copied blocks, removes the journal, and says whether the origin is half
// merged.
std::vector<Error> abort_merge(const Options& options);

}  // namespace extmerge
