// SPDX-License-Identifier: GPL-3.0-or-later
//
// A file that an option asks for beside the report: --map, --export. extmerge runs as root, and a
// name typed wrongly may be that of a device, an image or a journal; so a file that is there is
// replaced only if it is an earlier one of ours, which its first bytes tell. It is written aside
// and renamed into place, so whoever looks at it sees a whole one.

#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace extmerge {

class OutputFile {
 public:
  // `-` is standard output. `mark` is what such a file begins with. Throws kUsage where there is
  // anything else of that name, and kOutputFailed or what stands for errno.
  OutputFile(const std::string& option, const std::string& path, std::string_view mark);
  // Removes what was not published.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Throws as the constructor does.
  void write(std::string_view text);
  void publish();

 private:
  [[noreturn]] void fail(int error_number) const;

  std::string path_;
  std::string aside_;          // empty: standard output, or published
  std::FILE* file_ = nullptr;  // null: standard output
};

}  // namespace extmerge
