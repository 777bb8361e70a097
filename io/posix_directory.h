// SPDX-License-Identifier: GPL-3.0-or-later
//
// The real DurableDirectory.

#pragma once

#include <memory>
#include <string>

#include "io/durable_file.h"

namespace extmerge {

// Opens `path`, held open for as long as the object lives so that every name
// is resolved in the directory that was checked. With `create`, a missing
// directory is made, mode 0700. Throws kJournalUnsafe where somebody other than
// the caller and root owns it or may write it, kNotFound, kPermission.
std::unique_ptr<DurableDirectory> open_directory(const std::string& path, bool create);

}  // namespace extmerge
