// SPDX-License-Identifier: GPL-3.0-or-later
//
// Compares identities of devices and files (DeviceFacts::identity; io/device_identity.h lists their
// forms). A file's identity has three parts: file, file system, device. Version 0.1 wrote only the
// first part, and not every kernel tells the others.

#pragma once

#include <string>
#include <vector>

namespace extmerge {

// Whether both identities can belong to one disk or file: all parts that both have are equal.
bool is_same_identity(const std::string& a, const std::string& b);

// The shorter identities of the same file, with fewer parts, the longest first.
std::vector<std::string> shorter_identities(const std::string& identity);

// False if a copy, or another disk after a reboot, can have the same identity: a kernel name (vdb),
// a device-mapper name, the URI of an NBD export, a file without its device. Such a device is
// trusted only after a full comparison.
bool is_certain_identity(const std::string& identity);

}  // namespace extmerge
