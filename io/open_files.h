// SPDX-License-Identifier: GPL-3.0-or-later
//
// Who has a device or file open for writing. An exclusive open keeps out only others that
// ask for one (mounts, dm, md); a program that just opens and writes is seen nowhere but
// among the open files of all processes.
//
// Source: /proc/PID/fd and fdinfo. Without root only one's own processes are seen. Throws
// kCannotLook where /proc is not the kernel's, and kTooManyFiles.

#pragma once

#include <string>
#include <vector>

#include "io/device_facts.h"
#include "io/sysfs.h"

namespace extmerge {

// "qemu-system-x86 (1234)" of each process but this one, in order of number. Those that
// come or go meanwhile may be missing.
std::vector<std::string> writers_of(const DeviceFacts& facts, const SystemRoot& root = {});

}  // namespace extmerge
