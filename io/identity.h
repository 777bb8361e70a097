// SPDX-License-Identifier: GPL-3.0-or-later
//
// Comparing the names of devices and files (DeviceFacts::identity; io/device_identity.h lists their
// forms). A file's name has three parts: which file, in which file system, on which device.
// Version 0.1 wrote the first part only, and not every kernel tells the others.

#pragma once

#include <string>
#include <vector>

namespace extmerge {

// Whether both can be names of one disk or file: equal in every part that both have.
bool is_same_identity(const std::string& a, const std::string& b);

// The names that the same file may have been given with fewer parts, the longest first.
std::vector<std::string> shorter_identities(const std::string& identity);

// False for a name that a copy can have as well, or another disk after a reboot: a kernel name
// (vdb), a device-mapper name, a file without its device. What such a name leads to is not
// believed without comparing everything.
bool is_certain_identity(const std::string& identity);

}  // namespace extmerge
