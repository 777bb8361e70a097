// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/output.h"

#include <cerrno>
#include <cstdio>

#include "io/error.h"

namespace extmerge {

namespace {

// One id for every reason, so that a script can detect a lost report.
[[noreturn]] void fail(int error_number) {
  throw Error(MessageId::kOutputFailed,
              "cannot write to standard output: " + errno_text(error_number),
              "see where standard output goes, and run the same command again");
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail(errno);
}

void flush_output() {
  if (std::fflush(stdout) != 0) fail(errno);
}

}  // namespace extmerge
