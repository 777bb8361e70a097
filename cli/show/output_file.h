// SPDX-License-Identifier: GPL-3.0-or-later
//
// A file that an option asks for beside the report: --map, --export. extmerge runs as root, and a
// name typed wrongly may be that of a device, an image or a journal; so a file that is there is
// replaced only if it is an earlier one of ours, which its first bytes tell, and that is asked
// twice: before anything else is done, and when it is replaced. Until it is whole it has no name,
// where the file system knows that, and so nothing is left of it whatever happens.

#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace extmerge {

class OutputFile {
 public:
  // `-` is standard output. `mark` is what such a file begins with, and must last as long as this.
  // Throws kUsage where there is anything else of that name, and kOutputFailed or what stands for
  // errno.
  OutputFile(const std::string& option, const std::string& path, std::string_view mark);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Throws as the constructor does.
  void write(std::string_view text);
  // Whoever looks at `path` sees what was there before, or all of it.
  void publish();

 private:
  // Whether there is an earlier one; throws for anything else.
  bool is_replacing() const;
  void open();
  [[noreturn]] void fail(int error_number) const;

  const std::string option_;
  const std::string path_;
  const std::string_view mark_;
  std::string aside_;  // its name meanwhile; empty: it has none
  std::FILE* file_ = nullptr;
};

}  // namespace extmerge
