// SPDX-License-Identifier: GPL-3.0-or-later
//
// A file that an option asks for beside the report: --map, --export. extmerge runs as root, and a
// mistyped name may be a device, an image or a journal. So an existing file is replaced only if its
// first bytes show that extmerge wrote it. This check runs twice: at the start, and before the file
// is replaced. If the file system allows it, the file has no name until it is complete. Then an
// aborted run leaves no part of it.

#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace extmerge {

class OutputFile {
 public:
  // `-` is standard output. `mark` is the start of such a file, and must outlive this object.
  // Throws kUsage if another file has that name; kOutputFailed or the Error for errno otherwise.
  OutputFile(const std::string& option, const std::string& path, std::string_view mark);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Throws as the constructor does.
  void write(std::string_view text);
  // Puts the file in place. A reader of `path` sees the old file or the whole new one.
  void publish();

 private:
  // Whether an earlier file of extmerge is in place. Throws if another file is.
  bool is_replacing() const;
  void open();
  [[noreturn]] void fail(int error_number) const;

  const std::string option_;
  const std::string path_;
  const std::string_view mark_;
  std::string aside_;  // temporary name, empty if it has none
  std::FILE* file_ = nullptr;
};

}  // namespace extmerge
