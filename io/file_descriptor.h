// SPDX-License-Identifier: GPL-3.0-or-later
//
// A file descriptor that closes itself.

#pragma once

#include <unistd.h>

#include <utility>

namespace extmerge {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  // Takes over `fd`. A negative number, as from a failed open(), is no file.
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  // Errors of close() are ignored: code that needs durability syncs before. close() is not repeated
  // after EINTR, because Linux has freed the number by then.
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int fd_ = -1;
};

}  // namespace extmerge
