// SPDX-License-Identifier: GPL-3.0-or-later
//
// The programs that have a device or file open for writing. An exclusive open excludes only other
// exclusive opens (mounts, dm, md). Only the list of open files shows a program that simply opens
// and writes.
//
// Source: /proc/PID/fd and fdinfo. Without root only the user's own processes are visible. Throws
// kCannotLook if /proc is not the kernel's, and kTooManyFiles.

#pragma once

#include <string>
#include <vector>

#include "io/device_facts.h"
#include "io/sysfs.h"

namespace extmerge {

// "qemu-system-x86 (1234)" for each process except this one, in order of number. Processes that
// start or end during the search may be missing.
std::vector<std::string> writers_of(const DeviceFacts& facts, const SystemRoot& root = {});

}  // namespace extmerge
