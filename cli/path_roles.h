// SPDX-License-Identifier: GPL-3.0-or-later
//
// Compares every file that this run writes with every file that has another part in a merge:
// devices and images, journals with the files that belong to them, undo logs, the configuration.
// extmerge runs as root, and a wrong name would put text into the very disk that is to be merged.
//
// Method: device and inode identify a file, and the file under a loop device identifies that, so
// links and loop devices hide nothing. Folder and name identify a file that does not exist yet. The
// check runs before the first byte is written, and once more when the log file is open. LVM is not
// asked: for a named source, a log may neither have the name of a journal's file in the state
// directory nor lie under a loop device.
//
// merge/preflight knows the devices and judges where a journal and an undo log may lie.

#pragma once

#include "cli/options.h"
#include "io/file_descriptor.h"

namespace extmerge {

// `log` is the file of --log-file, once it is open. Throws Error(kUsage) if one file has two parts,
// and the failures of reading the journal that records the devices. A standard stream that leads to
// such a file is cut off before the throw, so that not even the failure is written there.
void check_paths(const Options& options, const FileDescriptor* log = nullptr);

}  // namespace extmerge
