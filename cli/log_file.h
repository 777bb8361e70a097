// SPDX-License-Identifier: GPL-3.0-or-later
//
// The file of --log-file is opened without following a link. It must be a regular file or a
// terminal with no other part in the work (cli/path_roles.h).

#pragma once

#include "cli/options.h"
#include "io/file_descriptor.h"

namespace extmerge {

// Creates a missing file, and removes it again if it is refused. Throws Error(kUsage), the Error of
// a failed open(), and as check_paths() does.
FileDescriptor open_log_file(const Options& options);

}  // namespace extmerge
