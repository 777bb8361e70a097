// SPDX-License-Identifier: GPL-3.0-or-later
//
// Copies and merges over one origin make, share and remove device nodes that lie on each other.
// Between a look and the next step nobody else may do that. Two files in /run, of one name for each
// origin, are locked with flock(): the kernel unlocks them when a process is killed.

#pragma once

#include <string>

#include "io/file_descriptor.h"

namespace extmerge {

// Held for moments, while nodes of the origin are made or removed. Throws kInUse after half a
// minute. Where /run takes no file, nothing is locked.
FileDescriptor lock_nodes(const std::string& origin_uuid);

// Held as long as a copy reads the origin, by all of these copies together.
class ReaderLock {
 public:
  void take(const std::string& origin_uuid);
  // Whether no other copy reads the origin. lock_nodes() is held.
  static bool is_free(const std::string& origin_uuid);
  void drop() { file_ = FileDescriptor(); }

 private:
  FileDescriptor file_;
};

}  // namespace extmerge
