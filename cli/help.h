// SPDX-License-Identifier: GPL-3.0-or-later
//
// The texts of --help, made from the option table. The overview fits 24 lines, each command's help
// 45 lines; both fit 80 columns.

#pragma once

#include <string>

#include "cli/options.h"

namespace extmerge {

std::string overview();
std::string help_of(Command command);

}  // namespace extmerge
