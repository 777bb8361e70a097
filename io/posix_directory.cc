// SPDX-License-Identifier: GPL-3.0-or-later
//
// A journal decides which blocks of a disk are skipped as merged already. A forged journal can make
// extmerge corrupt a disk. So only root and the caller may have write access to the directory. The
// directory is opened once and checked, and every name is resolved in it. A name is never followed
// as a link, and its file is checked on the open descriptor.
//
// A symbolic link *to* the directory is followed (/var/lib/extmerge may be one): only the reached
// directory counts.

#include "io/posix_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include "io/error.h"
#include "io/file_descriptor.h"

namespace extmerge {

namespace {

// Callers of DurableFile expect fewer ids than system_error() has.
Error journal_error(const std::string& deed, const std::string& object, int error_number) {
  const Error error = system_error(deed, object, error_number, MessageId::kJournalIo);
  for (const MessageId known : {MessageId::kNoSpace, MessageId::kPermission,
                                MessageId::kTooManyFiles, MessageId::kNoMemory}) {
    if (error.id() == known) return error;
  }
  return Error(MessageId::kJournalIo, error.what(), error.next());
}

Error unsafe(const std::string& path, const std::string& why, const std::string& next) {
  return Error(MessageId::kJournalUnsafe, path + " cannot be trusted: " + why, next);
}

bool others_may_write(const struct stat& status) {
  return (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

bool is_ours(const struct stat& status) {
  return status.st_uid == ::geteuid() || status.st_uid == 0;
}

void check_directory(const struct stat& status, const std::string& path) {
  if (!is_ours(status)) {
    throw unsafe(path, "it belongs to user " + std::to_string(status.st_uid),
                 "use a directory that belongs to you or to root");
  }
  if (others_may_write(status)) {
    throw unsafe(path, "others may write in it",
                 "use a directory of its own (chmod go-w), not a shared one such as /tmp");
  }
}

void check_file(const struct stat& status, const std::string& path) {
  if (S_ISLNK(status.st_mode)) {
    throw unsafe(path, "it is a symbolic link", "name the file itself");
  }
  if (!S_ISREG(status.st_mode)) {
    throw unsafe(path, "it is not a regular file", "name another file, or move this one away");
  }
  if (status.st_nlink != 1) {
    throw unsafe(path, "it has " + std::to_string(status.st_nlink) + " hard links",
                 "find out who made the others (find -samefile) and remove them");
  }
  if (!is_ours(status)) {
    throw unsafe(path, "it belongs to user " + std::to_string(status.st_uid),
                 "find out who put it there; do not merge with it");
  }
  if (others_may_write(status)) {
    throw unsafe(path, "others may write to it",
                 "find out why; if you are sure of its contents, chmod go-w it");
  }
}

void check_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    throw Error(MessageId::kJournalUnsafe, "'" + name + "' is not a file name",
                "name a file, without a directory");
  }
}

template <typename Call>
auto again_if_interrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class PosixFile : public DurableFile {
 public:
  PosixFile(FileDescriptor file, std::string path)
      : file_(std::move(file)), path_(std::move(path)) {}

  Bytes size() const override {
    struct stat status;
    if (::fstat(file_.get(), &status) != 0) throw journal_error("look at", path_, errno);
    return Bytes(static_cast<uint64_t>(status.st_size));
  }

  size_t read(Bytes offset, std::span<std::byte> memory) override {
    size_t done = 0;
    while (done < memory.size()) {
      const ssize_t count = again_if_interrupted([&] {
        return ::pread(file_.get(), memory.data() + done, memory.size() - done,
                       static_cast<off_t>(offset.value() + done));
      });
      if (count < 0) throw journal_error("read", path_, errno);
      if (count == 0) break;
      done += static_cast<size_t>(count);
    }
    return done;
  }

  void write(Bytes offset, std::span<const std::byte> memory) override {
    size_t done = 0;
    while (done < memory.size()) {
      const ssize_t count = again_if_interrupted([&] {
        return ::pwrite(file_.get(), memory.data() + done, memory.size() - done,
                        static_cast<off_t>(offset.value() + done));
      });
      if (count <= 0) throw journal_error("write", path_, count < 0 ? errno : ENOSPC);
      done += static_cast<size_t>(count);
    }
  }

  // Linux marks pages with a failed write-back as clean and reports the failure once. So a second
  // fsync() that succeeds proves nothing.
  void sync() override {
    if (::fdatasync(file_.get()) != 0) throw journal_error("sync", path_, errno);
  }

  // This is only advice: a page that another process has mapped stays.
  void drop_cache() override { ::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_DONTNEED); }

 private:
  FileDescriptor file_;
  std::string path_;
};

// The lock ends with the last descriptor of this open file. The kernel keeps that until I/O in
// flight has landed, even after SIGKILL (tried on Linux 6.1).
class PosixLock : public FileLock {
 public:
  explicit PosixLock(FileDescriptor file) : file_(std::move(file)) {}

 private:
  FileDescriptor file_;
};

class PosixDirectory : public DurableDirectory {
 public:
  PosixDirectory(FileDescriptor directory, std::string path)
      : directory_(std::move(directory)), path_(std::move(path)) {}

  const std::string& path() const override { return path_; }

  std::unique_ptr<DurableFile> create(const std::string& name) override {
    check_name(name);
    if (::unlinkat(directory_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
      throw journal_error("replace", path_of(name), errno);
    }
    FileDescriptor file = open_at(name, O_RDWR | O_CREAT | O_EXCL);
    if (!file) throw journal_error("create", path_of(name), errno);
    return std::make_unique<PosixFile>(std::move(file), path_of(name));
  }

  std::unique_ptr<DurableFile> open(const std::string& name, bool writable) override {
    check_name(name);
    // Check before opening, because opening a device or a FIFO may have an effect. Check again on
    // the open file, which is what counts.
    struct stat status;
    if (::fstatat(directory_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return nullptr;
      throw journal_error("look at", path_of(name), errno);
    }
    check_file(status, path_of(name));
    FileDescriptor file = open_at(name, writable ? O_RDWR : O_RDONLY);
    if (!file) throw journal_error("open", path_of(name), errno);
    check_open_file(file, name);
    return std::make_unique<PosixFile>(std::move(file), path_of(name));
  }

  void rename(const std::string& from, const std::string& to) override {
    check_name(from);
    check_name(to);
    if (::renameat(directory_.get(), from.c_str(), directory_.get(), to.c_str()) != 0) {
      throw journal_error("rename " + path_of(from) + " to", path_of(to), errno);
    }
    sync();
  }

  void remove(const std::string& name) override {
    check_name(name);
    if (::unlinkat(directory_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
      throw journal_error("remove", path_of(name), errno);
    }
    // Sync even if the file is missing: an earlier removal may not be durable yet.
    sync();
  }

  void sync() override {
    if (::fsync(directory_.get()) != 0) throw journal_error("sync", path_, errno);
  }

  std::vector<std::string> names() override {
    // Open a new descriptor, because dup()s share the read position.
    const int fd = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(fd < 0 ? nullptr : ::fdopendir(fd),
                                                     ::closedir);
    if (!stream) throw journal_error("list", path_, errno);
    std::vector<std::string> found;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(stream.get());
      if (entry == nullptr) break;
      const std::string name = entry->d_name;
      if (name != "." && name != "..") found.push_back(name);
    }
    if (errno != 0) throw journal_error("list", path_, errno);
    std::sort(found.begin(), found.end());
    return found;
  }

  std::unique_ptr<FileLock> try_lock(const std::string& name) override {
    check_name(name);
    FileDescriptor file = open_lock(name);
    // Retry: is_locked() in another process holds the lock for microseconds, a merge much longer.
    for (int tries = 0; !lock(file, LOCK_EX, name); ++tries) {
      if (tries == 100) return nullptr;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (is_removed(file, name)) return try_lock(name);
    return std::make_unique<PosixLock>(std::move(file));
  }

  bool is_locked(const std::string& name) override {
    check_name(name);
    const FileDescriptor file = open_at(name, O_RDONLY);
    if (!file && errno == ENOENT) return false;
    if (!file) throw journal_error("open", path_of(name), errno);
    if (is_removed(file, name)) return false;
    return !lock(file, LOCK_SH, name);  // freed when the file is closed
  }

 private:
  std::string path_of(const std::string& name) const {
    return path_.back() == '/' ? path_ + name : path_ + "/" + name;
  }

  // Opens the lock file, makes a missing one, and checks it.
  FileDescriptor open_lock(const std::string& name) const {
    FileDescriptor file = open_at(name, O_RDWR | O_CREAT);
    if (!file) {
      const int error_number = errno;
      struct stat status;
      if (::fstatat(directory_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
        check_file(status, path_of(name));
      }
      throw journal_error("open", path_of(name), error_number);
    }
    return is_removed(file, name) ? open_lock(name) : std::move(file);
  }

  // Whether the lock file was removed: then its lock has no effect. A read-only command removes it
  // while it has the lock (cli/source/state_traces.h). A file that exists is checked.
  bool is_removed(const FileDescriptor& file, const std::string& name) const {
    struct stat status;
    if (::fstat(file.get(), &status) != 0) throw journal_error("look at", path_of(name), errno);
    if (status.st_nlink == 0) return true;
    check_file(status, path_of(name));
    return false;
  }

  // O_NONBLOCK prevents a wait at a FIFO, and has no effect on a regular file.
  FileDescriptor open_at(const std::string& name, int flags) const {
    constexpr mode_t kOwnerOnly = 0600;
    return FileDescriptor(::openat(directory_.get(), name.c_str(),
                                   flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, kOwnerOnly));
  }

  void check_open_file(const FileDescriptor& file, const std::string& name) const {
    struct stat status;
    if (::fstat(file.get(), &status) != 0) throw journal_error("look at", path_of(name), errno);
    check_file(status, path_of(name));
  }

  // False if another process has the lock.
  bool lock(const FileDescriptor& file, int kind, const std::string& name) const {
    const int locked = again_if_interrupted([&] { return ::flock(file.get(), kind | LOCK_NB); });
    if (locked != 0 && errno != EWOULDBLOCK) throw journal_error("lock", path_of(name), errno);
    return locked == 0;
  }

  FileDescriptor directory_;
  std::string path_;
};

void sync_directory(const std::string& path) {
  const FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) throw journal_error("sync", path, errno);
}

// Makes `path` and missing folders above it. Each is durable in its parent before the next one is
// made in it.
void make_directories(const std::filesystem::path& path) {
  constexpr mode_t kOwnerOnly = 0700;
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  int made = ::mkdir(path.c_str(), kOwnerOnly);
  if (made != 0 && errno == ENOENT && parent != path) {
    make_directories(parent);
    made = ::mkdir(path.c_str(), kOwnerOnly);
  }
  if (made == 0) return sync_directory(parent);
  if (errno != EEXIST) throw journal_error("create directory", path, errno);
}

// "a/b/" and "a/b" name the same directory, but only the second has a parent "a".
std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

std::unique_ptr<DurableDirectory> open_directory(const std::string& path, bool create) {
  if (create) make_directories(without_trailing_slashes(path));
  FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory && errno == ENOTDIR) {
    throw unsafe(path, "it is not a directory", "name a directory for the journals (--state-dir)");
  }
  if (!directory) throw system_error("open directory", path, errno, MessageId::kJournalIo);
  struct stat status;
  if (::fstat(directory.get(), &status) != 0) throw journal_error("look at", path, errno);
  check_directory(status, path);
  return std::make_unique<PosixDirectory>(std::move(directory), path);
}

}  // namespace extmerge
