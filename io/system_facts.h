// SPDX-License-Identifier: GPL-3.0-or-later
//
// The parts of inspect() that take the system they look at as an argument, for
// tests with trees of their own. Internal to io/.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/device_facts.h"
#include "io/sysfs.h"

namespace extmerge {

DeviceFacts inspect(const std::string& path, const SystemRoot& root);

// Fills in what sysfs and /proc tell of the block device facts.device_number
// (identity, underlying, holders, mount points, swap). Wants facts.size for the
// identity; the device itself need not be there.
void describe_device(const SystemRoot& root, DeviceFacts& facts);

std::vector<uint64_t> devices_under_file_system(const std::string& path, const SystemRoot& root);

}  // namespace extmerge
