// SPDX-License-Identifier: GPL-3.0-or-later
//
// The file of --log-file: opened without following a link, and used only if the open
// file is a regular file or a terminal and has no other part in the work (cli/path_roles.h).

#pragma once

#include "cli/options.h"
#include "io/file_descriptor.h"

namespace extmerge {

// It may be new; one that was made and is refused is removed again. Throws
// Error(kUsage), what a failed open() means, and what check_paths() throws.
FileDescriptor open_log_file(const Options& options);

}  // namespace extmerge
