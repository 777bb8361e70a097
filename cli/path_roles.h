// SPDX-License-Identifier: GPL-3.0-or-later
//
// Compares every file that this run writes with every file that has another part in a merge. These
// are devices, images, journals and their files, undo logs and the configuration. extmerge runs as
// root: a wrong name could write text into the disk that it merges.
//
// Method: device and inode identify a file, and its backing file identifies a loop device. So links
// and loop devices hide nothing. Folder and name identify a file that does not exist yet. The check
// runs before the first byte is written, and again when the log file is open. LVM is not asked. So
// for a named source, a log file must not lie under a loop device. In the state directory it must
// not be named like a journal's file.
//
// merge/preflight judges where a journal and an undo log may lie, because it knows the devices.

#pragma once

#include "cli/options.h"
#include "io/file_descriptor.h"

namespace extmerge {

// `log` is the file of --log-file, once it is open. Throws Error(kUsage) if one file has two parts,
// and the failures of reading the journal that records the devices. A standard stream that leads to
// such a file is redirected to /dev/null first, so that the error message is not written there.
void check_paths(const Options& options, const FileDescriptor* log = nullptr);

}  // namespace extmerge
