// SPDX-License-Identifier: GPL-3.0-or-later
//
// From argv to Options.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/options.h"

namespace extmerge {

// `arguments` without the program's name. `configure` fills in what they do not say, before what
// depends on two options is checked. Throws Error(kUsage).
Options parse_command_line(const std::vector<std::string>& arguments,
                           const std::function<void(Options&)>& configure = {});

// Whether a failure to parse `arguments` is to be reported as JSON as well.
bool asks_for_json(const std::vector<std::string>& arguments);

}  // namespace extmerge
