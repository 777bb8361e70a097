// SPDX-License-Identifier: GPL-3.0-or-later
//
// Finds the source of a command.

#pragma once

#include <memory>

#include "cli/source/request.h"
#include "cli/source/source.h"

namespace extmerge {

// The source that the request names. For resume, undo and abort it may be the one in the journal.
// `request` must outlive the source.
std::unique_ptr<Source> open_source(const Request& request);

}  // namespace extmerge
