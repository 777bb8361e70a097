// SPDX-License-Identifier: GPL-3.0-or-later
//
// The configuration file: the administrator's defaults, one NAME = VALUE per line, with the names
// of long options. The file sets how work is done and shown, never which devices are merged. It can
// neither confirm a merge nor override a refusal.

#pragma once

#include <istream>
#include <string>

#include "cli/options.h"

namespace extmerge {

// Sets options that the command accepts and that neither command line nor environment sets. `name`
// is for messages. Throws Error(kUsage).
void apply_configuration(Options& options, std::istream& file, const std::string& name);

// Reads EXTMERGE_CONFIG, or /etc/extmerge/extmerge.conf if that exists. Refuses a file that anybody
// but root and the caller may write.
void apply_configuration(Options& options);

// The path of the configuration file; empty if EXTMERGE_CONFIG is empty.
std::string configuration_path();

}  // namespace extmerge
