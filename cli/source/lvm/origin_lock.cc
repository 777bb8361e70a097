// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/origin_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <chrono>
#include <thread>

#include "io/error.h"

namespace extmerge {

namespace {

FileDescriptor open_lock(const std::string& origin_uuid, const std::string& kind) {
  const std::string path = "/run/extmerge-" + origin_uuid + "." + kind;
  return FileDescriptor(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
}

bool try_lock(const FileDescriptor& file, int kind) {
  return ::flock(file.get(), kind | LOCK_NB) == 0;
}

}  // namespace

FileDescriptor lock_nodes(const std::string& origin_uuid) {
  constexpr std::chrono::seconds kPatience{30};
  constexpr std::chrono::milliseconds kPause{20};
  FileDescriptor file = open_lock(origin_uuid, "nodes");
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (file && !try_lock(file, LOCK_EX)) {
    if (std::chrono::steady_clock::now() >= deadline) {
      throw Error(MessageId::kInUse, "another extmerge makes nodes of the same origin",
                  "wait for it (extmerge status), then run the same command again");
    }
    std::this_thread::sleep_for(kPause);
  }
  return file;
}

void ReaderLock::take(const std::string& origin_uuid) {
  file_ = open_lock(origin_uuid, "readers");
  if (file_) try_lock(file_, LOCK_SH);
}

bool ReaderLock::is_free(const std::string& origin_uuid) {
  const FileDescriptor file = open_lock(origin_uuid, "readers");
  return !file || try_lock(file, LOCK_EX);
}

}  // namespace extmerge
