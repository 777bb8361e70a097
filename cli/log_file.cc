// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "cli/path_roles.h"
#include "io/error.h"

namespace extmerge {

namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(MessageId::kUsage, "--log-file: " + path + " " + why,
              "name a regular file without another use, or a terminal");
}

// Check before opening: opening a device may have an effect.
void check_kind(const struct stat& status, const std::string& path) {
  if (S_ISLNK(status.st_mode)) refuse(path, "is a symbolic link");
  if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
    refuse(path, "is neither a regular file nor a terminal");
}

// `made` says whether this call created the file.
FileDescriptor open_or_make(const std::string& path, bool& made) {
  constexpr int kFlags = O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  constexpr mode_t kNotForOthers = 0640;
  struct stat status {};
  made = ::lstat(path.c_str(), &status) != 0 && errno == ENOENT;
  if (!made) check_kind(status, path);
  FileDescriptor file(
      ::open(path.c_str(), made ? kFlags | O_CREAT | O_EXCL : kFlags, kNotForOthers));
  if (!file) throw system_error("open the log file", path, errno, MessageId::kOutputFailed);
  return file;
}

void check_open_file(const FileDescriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0)
    throw system_error("look at the log file", path, errno, MessageId::kOutputFailed);
  check_kind(status, path);
  if (S_ISCHR(status.st_mode) && ::isatty(file.get()) != 1)
    refuse(path, "is neither a regular file nor a terminal");
}

}  // namespace

FileDescriptor open_log_file(const Options& options) {
  const std::string& path = *options.log_file;
  bool made = false;
  FileDescriptor file = open_or_make(path, made);
  try {
    check_open_file(file, path);
    check_paths(options, &file);
  } catch (const Error&) {
    if (made) ::unlink(path.c_str());
    throw;
  }
  // O_NONBLOCK is for opening only: a write to a slow terminal must wait.
  const int flags = ::fcntl(file.get(), F_GETFL);
  if (flags >= 0) ::fcntl(file.get(), F_SETFL, flags & ~O_NONBLOCK);
  return file;
}

}  // namespace extmerge
