// SPDX-License-Identifier: GPL-3.0-or-later
//
// --when-closed: a volume that is in use is merged or copied in rounds, compared in full, and taken
// out of use only for the last round, once it is closed.

#pragma once

#include <string>

#include "cli/round.h"

namespace extmerge {

// Returns the report of the last round. `outcome` tells what came of the volume. Throws kThinOpen
// when the time to wait is over, and kStopped; then everything is as after a round.
MergeReport finish_when_closed(const Options& options, Source& source, Progress& progress,
                               Signals& signals, const ConfirmPlan& confirmation,
                               std::string& outcome);

}  // namespace extmerge
