// SPDX-License-Identifier: GPL-3.0-or-later
//
// The refusals of a copy that a merge does not have. Part of merge/preflight.h.

#pragma once

#include "io/error.h"
#include "merge/job.h"

namespace extmerge {

// The target must be another device than the external origin.
Refusal check_target_is_not_origin(const Job& job);
// An export on this machine must not be a device of the source.
Refusal check_export_is_not_source(const Job& job);
// The target must be as long as the thin, whose size must be known.
Refusal check_target_size(const Job& job);

}  // namespace extmerge
