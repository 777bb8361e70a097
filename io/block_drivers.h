// SPDX-License-Identifier: GPL-3.0-or-later
//
// The kernel's current block drivers, built in or as loaded modules.
//
// Source: /proc/devices. A driver that is not listed there has no devices.

#pragma once

#include <string>

#include "io/sysfs.h"

namespace extmerge {

// `name` is "loop" or "device-mapper". Throws kCannotLook.
bool has_block_driver(const std::string& name, const SystemRoot& root = {});

}  // namespace extmerge
