// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "cli/show/output.h"
#include "io/error.h"
#include "io/file_descriptor.h"
#include "merge/journal/journal.h"

namespace extmerge {

namespace {

constexpr mode_t kMode = 0666;  // less the umask

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

// Renames a file. Unless `replacing`, an existing `to` is an error, if the file system can tell.
int rename_over(const std::string& from, const std::string& to, bool replacing) {
  if (!replacing) {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL) return -1;
  }
  return ::rename(from.c_str(), to.c_str());
}

}  // namespace

OutputFile::OutputFile(const std::string& option, const std::string& path, std::string_view mark)
    : option_(option), path_(path), mark_(mark) {
  if (path_ == "-") return;
  is_replacing();
  open();
}

OutputFile::~OutputFile() {
  if (file_) std::fclose(file_);
  if (!aside_.empty()) ::unlink(aside_.c_str());
}

void OutputFile::fail(int error_number) const {
  throw system_error("write", path_, error_number, MessageId::kOutputFailed);
}

bool OutputFile::is_replacing() const {
  const Error in_the_way(
      MessageId::kUsage,
      option_ + ": " + path_ + " is there already and was not made by this option",
      "name a file that does not exist; this one is left alone");
  struct stat status {};
  if (::lstat(path_.c_str(), &status) != 0) {
    if (errno == ENOENT) return false;
    throw system_error("look at", path_, errno, MessageId::kOutputFailed);
  }
  // Refuse without opening: opening a device may have an effect.
  if (!S_ISREG(status.st_mode)) throw in_the_way;
  const FileDescriptor file(
      ::open(path_.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) throw system_error("read the file", path_, errno, MessageId::kOutputFailed);
  std::string begin(mark_.size(), 0);
  const ssize_t count = ::read(file.get(), begin.data(), begin.size());
  if (count < 0) throw system_error("read the file", path_, errno, MessageId::kOutputFailed);
  if (begin != mark_) throw in_the_way;
  return true;
}

void OutputFile::open() {
  const std::string folder = folder_of(path_);
  int file = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kMode);
  if (file < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
    aside_ = unmarked_name(folder + "/.extmerge", random_nonce());
    file = ::open(aside_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, kMode);
    if (file < 0) aside_.clear();
  }
  if (file < 0) throw system_error("make a file in", folder, errno, MessageId::kOutputFailed);
  file_ = ::fdopen(file, "w");
  if (!file_) fail(errno);
}

void OutputFile::write(std::string_view text) {
  if (path_ == "-") return print(text);
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) fail(errno);
}

void OutputFile::publish() {
  if (path_ == "-") return flush_output();
  if (std::fflush(file_) != 0) fail(errno);
  const int file = ::fileno(file_);
  struct stat before {};
  const bool replacing = is_replacing() && ::lstat(path_.c_str(), &before) == 0;
  // A replaced file keeps its owner and permissions.
  if (replacing && (::fchmod(file, before.st_mode & 0777) != 0 ||
                    (::fchown(file, before.st_uid, before.st_gid) != 0 && errno != EPERM)))
    fail(errno);
  if (aside_.empty()) {
    // linkat() fails if another program has created `path` in between.
    const std::string name =
        replacing ? unmarked_name(folder_of(path_) + "/.extmerge", random_nonce()) : path_;
    const std::string opened = "/proc/self/fd/" + std::to_string(file);
    if (::linkat(AT_FDCWD, opened.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      fail(errno);
    if (replacing) aside_ = name;
  }
  // A network file system may report a full disk only at close.
  if (std::fclose(std::exchange(file_, nullptr)) != 0) fail(errno);
  if (!aside_.empty() && rename_over(aside_, path_, replacing) != 0) fail(errno);
  aside_.clear();
}

}  // namespace extmerge
