// SPDX-License-Identifier: GPL-3.0-or-later
//
// The command line, read into Options.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/options.h"

namespace extmerge {

// `arguments` come without the program's name. `configure` fills in missing options before rules
// about pairs of options are checked. Throws Error(kUsage).
Options parse_command_line(const std::vector<std::string>& arguments,
                           const std::function<void(Options&)>& configure = {});

// Whether a failure to parse `arguments` is reported as JSON.
bool asks_for_json(const std::vector<std::string>& arguments);

}  // namespace extmerge
