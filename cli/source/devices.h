// SPDX-License-Identifier: GPL-3.0-or-later
//
// Device facts, by path or by number.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "io/device_facts.h"

namespace extmerge {

// Returns the facts of a device as they are now.
using Look = std::function<DeviceFacts()>;
Look at_path(const std::string& path);
// Looks at any device by its number.
Look at_number(uint64_t device_number);

}  // namespace extmerge
