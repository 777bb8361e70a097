// SPDX-License-Identifier: GPL-3.0-or-later
//
// The real DurableDirectory.

#pragma once

#include <memory>
#include <string>

#include "io/durable_file.h"

namespace extmerge {

// Opens `path` and keeps it open, so that every name is resolved in the checked directory. With
// `create`, a missing directory is made, mode 0700. Throws kJournalUnsafe if anybody except the
// caller and root owns it or may write it; kNotFound, kPermission.
std::unique_ptr<DurableDirectory> open_directory(const std::string& path, bool create);

}  // namespace extmerge
