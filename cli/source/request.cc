// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/request.h"

#include <algorithm>

namespace extmerge {

bool Request::has(const std::string& name) const {
  return std::find(given.begin(), given.end(), name) != given.end();
}

bool is_path(const std::string& argument) {
  return argument.starts_with('/') || argument.starts_with("./") || argument.starts_with("../");
}

}  // namespace extmerge
