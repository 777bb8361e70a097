// SPDX-License-Identifier: GPL-3.0-or-later
//
// The file of --log-file. It is appended to from the first moment on, before any
// guard has looked at anything, so that a wrong name (a path completed one line
// too high) would write text into the very disk that is to be merged. Hence it is
// opened here, without following a link, and used only if the open file is a
// regular file or a terminal and none of those that the command works on.

#pragma once

#include <string>

#include "cli/options.h"
#include "io/file_descriptor.h"

namespace extmerge {

// `path` may be new; one that was made and is refused is removed again. Throws
// Error(kUsage), what a failed open() means, and, where the devices are recorded
// in a journal, what reading that throws.
FileDescriptor open_log_file(const std::string& path, const Options& options);

}  // namespace extmerge
