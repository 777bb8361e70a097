// SPDX-License-Identifier: GPL-3.0-or-later
//
// Format: two lists of "MAJOR NAME", each under a heading of its own.

#include "io/block_drivers.h"

#include <sstream>

namespace extmerge {

bool has_block_driver(const std::string& name, const SystemRoot& root) {
  const std::string path = root.proc + "/devices";
  std::istringstream lines(required_text(root, path));
  bool in_blocks = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with("devices:")) in_blocks = line == "Block devices:";
    std::istringstream words(line);
    std::string major, driver;
    words >> major >> driver;
    if (in_blocks && driver == name) return true;
  }
  if (in_blocks) return false;
  throw cannot_look(KernelFiles::kProcfs, path, "it does not list block devices");
}

}  // namespace extmerge
