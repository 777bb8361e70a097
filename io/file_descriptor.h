// SPDX-License-Identifier: GPL-3.0-or-later
//
// An open file that closes itself.

#pragma once

#include <unistd.h>

#include <utility>

namespace extmerge {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  // Takes over `fd`; a negative one, as a failed open() returns, is none.
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
  // close() is not asked for an error: whoever cares has synced before. It is
  // not repeated after EINTR either, since Linux has freed the number by then.
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int fd_ = -1;
};

}  // namespace extmerge
