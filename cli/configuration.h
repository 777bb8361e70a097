// SPDX-License-Identifier: GPL-3.0-or-later
//
// The file of an administrator's own defaults: NAME = VALUE, a line each, as the long options are
// called. It chooses how work is done and shown, never what is merged, and it can neither
// confirm nor lift a refusal.

#pragma once

#include <istream>
#include <string>

#include "cli/options.h"

namespace extmerge {

// Fills in what neither the command line nor the environment says, and the command takes. `name` is
// for messages. Throws Error(kUsage).
void apply_configuration(Options& options, std::istream& file, const std::string& name);

// The same with EXTMERGE_CONFIG, or with /etc/extmerge/extmerge.conf if that is there. Refuses a
// file that others than root and the caller may write to.
void apply_configuration(Options& options);

// The path of that file; empty if EXTMERGE_CONFIG is empty.
std::string configuration_path();

}  // namespace extmerge
