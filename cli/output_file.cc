// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "cli/output.h"
#include "io/error.h"
#include "merge/journal.h"

namespace extmerge {

namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// Whether the file `path` begins with `mark`, or is empty.
bool may_be_replaced(const std::string& path, std::string_view mark) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "re"));
  if (!file) throw system_error("read the file", path, errno, MessageId::kOutputFailed);
  std::string begin(mark.size(), 0);
  begin.resize(std::fread(begin.data(), 1, begin.size(), file.get()));
  if (std::ferror(file.get()))
    throw system_error("read the file", path, errno, MessageId::kOutputFailed);
  return begin.empty() || begin == mark;
}

}  // namespace

OutputFile::OutputFile(const std::string& option, const std::string& path, std::string_view mark)
    : path_(path) {
  if (path == "-") return;
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    // Not even opened: opening a device may already do something.
    if (!S_ISREG(status.st_mode) || !may_be_replaced(path, mark))
      throw Error(MessageId::kUsage,
                  option + ": " + path + " is there already and was not made by this option",
                  "name a file that does not exist; it is left alone");
  } else if (errno != ENOENT) {
    throw system_error("look at", path, errno, MessageId::kOutputFailed);
  }
  const std::string aside = unmarked_name(path, random_nonce());
  file_ = std::fopen(aside.c_str(), "wxe");
  if (!file_) throw system_error("make the file", aside, errno, MessageId::kOutputFailed);
  aside_ = aside;
}

OutputFile::~OutputFile() {
  if (file_) std::fclose(file_);
  if (!aside_.empty()) ::unlink(aside_.c_str());
}

void OutputFile::fail(int error_number) const {
  throw system_error("write", path_, error_number, MessageId::kOutputFailed);
}

void OutputFile::write(std::string_view text) {
  if (file_ == nullptr) return print(text);
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) fail(errno);
}

void OutputFile::publish() {
  if (file_ == nullptr) return flush_output();
  // Closing is where a network file system may report that it had no room.
  if (std::fclose(std::exchange(file_, nullptr)) != 0) fail(errno);
  if (::rename(aside_.c_str(), path_.c_str()) != 0) fail(errno);
  aside_.clear();
}

}  // namespace extmerge
