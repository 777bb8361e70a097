// SPDX-License-Identifier: GPL-3.0-or-later
//
// Which source a command is about.

#pragma once

#include <memory>

#include "cli/source/request.h"
#include "cli/source/source.h"

namespace extmerge {

// The source that the request names, or for resume, undo and abort the one that its journal
// records. `request` must outlive it.
std::unique_ptr<Source> open_source(const Request& request);

}  // namespace extmerge
