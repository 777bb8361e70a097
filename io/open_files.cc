// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/open_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace extmerge {

namespace fs = std::filesystem;

namespace {

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

// False for a file closed since, or a process that this user may not inspect. AT_STATX_DONT_SYNC:
// do not ask a server that may be gone.
bool is_what(const fs::path& path, const DeviceFacts& facts) {
  struct statx status {};
  constexpr int kFlags = AT_STATX_DONT_SYNC;
  if (::statx(AT_FDCWD, path.c_str(), kFlags, STATX_TYPE | STATX_INO, &status) != 0) return false;
  if (facts.is_block) {
    return S_ISBLK(status.stx_mode) &&
           gnu_dev_makedev(status.stx_rdev_major, status.stx_rdev_minor) == facts.device_number;
  }
  return S_ISREG(status.stx_mode) && status.stx_ino == facts.inode &&
         gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor) == facts.file_system;
}

// Parses "flags:\t0100002", the octal flags of open(2).
bool is_for_writing(const std::string& info) {
  constexpr std::string_view kFlags = "flags:";
  const size_t at = info.find(kFlags);
  if (at == std::string::npos) return false;
  const auto flags = std::strtoul(info.c_str() + at + kFlags.size(), nullptr, 8);
  return (flags & O_ACCMODE) != O_RDONLY && (flags & O_PATH) == 0;
}

// The folders of processes may disappear at any time. Not every user may read those of others; root
// needs CAP_SYS_PTRACE.
std::vector<fs::path> entries_for_us(const fs::path& folder) {
  if (::faccessat(AT_FDCWD, folder.c_str(), R_OK | X_OK, AT_EACCESS) != 0 && errno == EACCES) {
    return {};
  }
  return entries_of(KernelFiles::kProcfs, folder);
}

bool writes(const fs::path& process, const DeviceFacts& facts) {
  for (const fs::path& file : entries_for_us(process / "fd")) {
    if (!is_what(file, facts)) continue;
    const fs::path info = process / "fdinfo" / file.filename();
    if (is_for_writing(read_text(KernelFiles::kProcfs, info))) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> writers_of(const DeviceFacts& facts, const SystemRoot& root) {
  if (!facts.exists || (facts.is_block && facts.device_number == 0)) return {};
  check_told_by_kernel(root, KernelFiles::kProcfs, root.proc);
  std::vector<long> found;
  for (const fs::path& process : entries_of(KernelFiles::kProcfs, root.proc)) {
    const std::string name = process.filename();
    if (!is_number(name) || name == std::to_string(::getpid())) continue;
    if (writes(process, facts)) found.push_back(std::strtol(name.c_str(), nullptr, 10));
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> writers;
  for (const long process : found) {
    const std::string number = std::to_string(process);
    std::string name = read_text(KernelFiles::kProcfs, fs::path(root.proc) / number / "comm");
    if (name.ends_with('\n')) name.pop_back();
    writers.push_back(name + " (" + number + ")");
  }
  return writers;
}

}  // namespace extmerge
