// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the system says of a device, by path or by number.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "io/device_facts.h"

namespace extmerge {

// What the system says of a device now.
using Look = std::function<DeviceFacts()>;
Look at_path(const std::string& path);
// Of a device-mapper device, or any other, by its number.
Look at_number(uint64_t device_number);

}  // namespace extmerge
