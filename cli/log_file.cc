// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

#include "cli/merge_status.h"
#include "cli/open_target.h"
#include "io/device_facts.h"
#include "io/posix_directory.h"

namespace extmerge {

namespace {

using File = DeviceFacts::File;

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(MessageId::kUsage, "--log-file: " + path + " " + why,
              "name a regular file of its own, or a terminal");
}

bool is_device(const File& file, const std::string& path) {
  // A loop device is its backing file.
  const std::vector<File> files = inspect(path).underlying_files;
  return std::find(files.begin(), files.end(), file) != files.end();
}

bool is_journal(const File& file, const std::string& path) {
  for (const std::string& name : {path, unpublished_name(path), lock_name(path)}) {
    struct stat status {};
    if (::stat(name.c_str(), &status) == 0 && file == File{status.st_dev, status.st_ino})
      return true;
  }
  return false;
}

// What `file` is to a merge, nothing if it has no part in it.
std::string part_in(const MergeStatus& merge, const File& file) {
  if (is_journal(file, merge.journal)) return "the journal";
  if (merge.damage) return "";
  if (is_device(file, merge.record.metadata.path)) return "the metadata";
  if (is_device(file, merge.record.data.path)) return "the data";
  return is_device(file, merge.record.origin.path) ? "the origin" : "";
}

std::string part_in_any(const std::string& state_directory, const File& file) {
  std::error_code ignored;
  if (!std::filesystem::exists(state_directory, ignored)) return "";
  for (const MergeStatus& merge : read_all(*open_directory(state_directory, false))) {
    const std::string part = part_in(merge, file);
    if (!part.empty()) return part;
  }
  return "";
}

std::string part_of(const File& file, const Options& options) {
  const bool has_source =
      options.command != Command::kResume && options.command != Command::kStatus;
  if (!has_source) {
    if (options.journal) return part_in(read_status(*options.journal), file);
    return part_in_any(state_directory(options), file);
  }
  if (is_device(file, options.metadata)) return "the metadata";
  if (is_device(file, options.data)) return "the data";
  if (is_device(file, options.origin)) return "the origin";
  const std::string journal =
      options.journal
          ? *options.journal
          : state_directory(options) + "/" + default_journal_name(inspect(options.origin).identity);
  return is_journal(file, journal) ? "the journal" : "";
}

// Looked at before it is opened, since opening a device may already do something.
void check_kind(const struct stat& status, const std::string& path) {
  if (S_ISLNK(status.st_mode)) refuse(path, "is a symbolic link");
  if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
    refuse(path, "is neither a regular file nor a terminal");
}

// Whether it was made is told by `made`.
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

void check_open_file(const FileDescriptor& file, const std::string& path, const Options& options) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0)
    throw system_error("look at the log file", path, errno, MessageId::kOutputFailed);
  check_kind(status, path);
  if (S_ISCHR(status.st_mode) && ::isatty(file.get()) != 1)
    refuse(path, "is neither a regular file nor a terminal");
  const std::string part = part_of({status.st_dev, status.st_ino}, options);
  if (!part.empty()) refuse(path, "is " + part);
}

}  // namespace

FileDescriptor open_log_file(const std::string& path, const Options& options) {
  bool made = false;
  FileDescriptor file = open_or_make(path, made);
  try {
    check_open_file(file, path, options);
  } catch (const Error&) {
    if (made) ::unlink(path.c_str());
    throw;
  }
  // Only opening was not to wait; a line for a slow terminal is not to be lost.
  const int flags = ::fcntl(file.get(), F_GETFL);
  if (flags >= 0) ::fcntl(file.get(), F_SETFL, flags & ~O_NONBLOCK);
  return file;
}

}  // namespace extmerge
