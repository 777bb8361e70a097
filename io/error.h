// SPDX-License-Identifier: GPL-3.0-or-later
//
// Every failure that stops the program is an Error: an id (with the exit status), what happened
// (deed, object, place, errno), and what to do next. The code that understands a failure throws the
// Error. Only cli/main.cc turns it into text and an exit status. The outcome of a single I/O is a
// value, not an exception (io/block_device.h).

#pragma once

#include <optional>
#include <stdexcept>
#include <string>

#include "io/message_id.h"

namespace extmerge {

class Error : public std::runtime_error {
 public:
  // `happened` is a sentence without a final stop, `next` one or two sentences
  // telling the administrator what to do; neither ends in a newline.
  Error(MessageId id, const std::string& happened, std::string next)
      : std::runtime_error(happened), id_(id), next_(std::move(next)) {}

  MessageId id() const { return id_; }
  const std::string& next() const { return next_; }

  // 1 to 11, as docs/command-line.md lists them.
  int exit_status() const {
    const int hundreds = static_cast<int>(id_) / 100;
    return hundreds == 0 ? 10 : hundreds;
  }

 private:
  MessageId id_;
  std::string next_;
};

// A reason not to begin, or nothing.
using Refusal = std::optional<Error>;

// "EXM-403"
std::string to_string(MessageId id);

// "No space left on device", for use inside messages.
std::string errno_text(int error_number);

// The Error for a system call that failed on `object`. EACCES and EPERM become kPermission, ENOENT
// and ENXIO kNotFound, EBUSY kInUse. EMFILE and ENFILE become kTooManyFiles, ENOMEM kNoMemory,
// ENOSPC and EDQUOT kNoSpace, EROFS kReadOnly. Any other errno becomes `otherwise`. `deed` is a
// verb such as "open".
Error system_error(const std::string& deed, const std::string& object, int error_number,
                   MessageId otherwise);

// kCannotLook, the Error for a source of facts that does not answer. A guard that cannot look
// refuses, because "nothing found" and "nothing seen" look the same. `source` is the file or
// folder, `why` ends the sentence "cannot look at SOURCE: WHY", `cure` is an imperative.
Error cannot_look(const std::string& source, const std::string& why, const std::string& cure);

}  // namespace extmerge
