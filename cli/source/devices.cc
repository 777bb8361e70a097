// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/devices.h"

#include "cli/source/dm/device_mapper.h"

namespace extmerge {

Look at_path(const std::string& path) {
  return [path] { return inspect(path); };
}

Look at_number(uint64_t device_number) {
  return [device_number] { return inspect_device(device_number, path_of_device(device_number)); };
}

}  // namespace extmerge
