// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/sysfs.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "io/error.h"
#include "io/file_descriptor.h"

namespace extmerge {

namespace fs = std::filesystem;

namespace {

// What is missing is nothing; what is there and cannot be looked at must not pass for that.
void check_looked(const fs::path& path, int error_number) {
  if (error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM) {
    throw system_error("read", path.string(), error_number, MessageId::kTooManyFiles);
  }
}

// "253:300". Minors have 20 bits: there are hosts with more than 256 dm devices.
std::optional<uint64_t> device_number_of(const fs::path& folder) {
  const std::string text = read_text(folder / "dev");
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto major = static_cast<unsigned>(std::strtoul(text.c_str(), nullptr, 10));
  const auto minor = static_cast<unsigned>(std::strtoul(text.c_str() + colon + 1, nullptr, 10));
  return gnu_dev_makedev(major, minor);
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    entries.push_back(i->path());
  }
  check_looked(folder, error.value());
  std::sort(entries.begin(), entries.end());
  return entries;
}

}  // namespace

std::string read_text(const fs::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) check_looked(path, errno);
  std::string text;
  char piece[4096];
  for (ssize_t length = 1; file && length > 0;) {
    length = ::read(file.get(), piece, sizeof piece);
    if (length > 0) text.append(piece, static_cast<size_t>(length));
    if (length < 0) check_looked(path, errno);
  }
  return text;
}

std::vector<uint64_t> device_numbers_in(const fs::path& folder) {
  std::vector<uint64_t> numbers;
  for (const fs::path& entry : entries_of(folder)) {
    if (const auto number = device_number_of(entry)) numbers.push_back(*number);
  }
  return numbers;
}

SysfsBlock::SysfsBlock(const SystemRoot& root, uint64_t device_number) {
  const std::string name = std::to_string(gnu_dev_major(device_number)) + ":" +
                           std::to_string(gnu_dev_minor(device_number));
  std::error_code error;
  folder_ = fs::canonical(fs::path(root.sys) / "dev/block" / name, error);
  if (error) folder_.clear();
}

std::string SysfsBlock::kernel_name() const {
  // A slash in a device's name (cciss/c0d0) is an exclamation mark in sysfs.
  std::string name = folder_.filename().string();
  std::replace(name.begin(), name.end(), '!', '/');
  return name;
}

std::string SysfsBlock::text(const std::string& attribute) const {
  if (folder_.empty()) return "";
  std::string contents = read_text(folder_ / attribute);
  if (!contents.empty() && contents.back() == '\n') contents.pop_back();
  return contents;
}

uint64_t SysfsBlock::number(const std::string& attribute) const {
  return std::strtoull(text(attribute).c_str(), nullptr, 10);
}

bool SysfsBlock::has(const std::string& attribute) const {
  std::error_code error;
  return !folder_.empty() && fs::exists(folder_ / attribute, error);
}

std::vector<uint64_t> SysfsBlock::slaves() const {
  if (folder_.empty()) return {};
  return device_numbers_in(folder_ / "slaves");
}

std::vector<uint64_t> SysfsBlock::holders() const {
  if (folder_.empty()) return {};
  return device_numbers_in(folder_ / "holders");
}

std::vector<uint64_t> SysfsBlock::partitions() const {
  std::vector<uint64_t> numbers;
  if (folder_.empty()) return numbers;
  for (const fs::path& entry : entries_of(folder_)) {
    std::error_code error;
    if (!fs::exists(entry / "partition", error)) continue;
    if (const auto number = device_number_of(entry)) numbers.push_back(*number);
  }
  return numbers;
}

std::optional<uint64_t> SysfsBlock::disk() const {
  if (!has("partition")) return std::nullopt;
  return device_number_of(folder_.parent_path());
}

}  // namespace extmerge
