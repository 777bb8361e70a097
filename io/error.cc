// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/error.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace extmerge {

namespace {

struct Understanding {
  MessageId id;
  const char* next;
};

Understanding understand(int error_number, MessageId otherwise) {
  switch (error_number) {
    case EACCES:
    case EPERM:
      return {MessageId::kPermission, "run as root, or check the owner and mode of the path"};
    case ENOENT:
    case ENXIO:
    case ENODEV:
    case ENOTDIR:
    case ELOOP:
      return {MessageId::kNotFound, "check the name"};
    case EBUSY:
      return {MessageId::kInUse,
              "find out which program uses it (lsblk, findmnt, dmsetup ls --tree) and stop that "
              "program"};
    case EMFILE:
    case ENFILE:
      return {MessageId::kTooManyFiles, "raise the limit on open files (ulimit -n)"};
    case ENOMEM:
      return {MessageId::kNoMemory, "free some memory, or lower --buffer-size and --threads"};
    case ENOSPC:
    case EDQUOT:
      return {MessageId::kNoSpace, "make room on that file system and run the same command again"};
    case EFBIG:
      return {MessageId::kNoSpace,
              "raise the limit on the size of files (ulimit -f), or use a file system that takes "
              "files of that size; then run the same command again"};
    case EROFS:
      return {MessageId::kReadOnly,
              "make it writable first (mount -o remount,rw for a file system, blockdev --setrw for "
              "a disk)"};
    default:
      return {otherwise,
              "look at the kernel log (dmesg), or the log of an NBD server, for its own message"};
  }
}

}  // namespace

std::string to_string(MessageId id) {
  char text[16];
  std::snprintf(text, sizeof text, "EXM-%03d", static_cast<int>(id));
  return text;
}

std::string errno_text(int error_number) { return std::generic_category().message(error_number); }

Error system_error(const std::string& deed, const std::string& object, int error_number,
                   MessageId otherwise) {
  const Understanding found = understand(error_number, otherwise);
  return Error(found.id, "cannot " + deed + " " + object + ": " + errno_text(error_number),
               found.next);
}

Error cannot_look(const std::string& source, const std::string& why, const std::string& cure) {
  return Error(MessageId::kCannotLook, "cannot look at " + source + ": " + why, cure);
}

}  // namespace extmerge
