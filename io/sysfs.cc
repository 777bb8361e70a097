// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/sysfs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "io/file_descriptor.h"

namespace extmerge {

namespace fs = std::filesystem;

namespace {

std::string cure_of(KernelFiles kind) {
  const std::string mount =
      kind == KernelFiles::kSysfs ? "mount -t sysfs sysfs /sys" : "mount -t proc proc /proc";
  return "mount it (" + mount +
         "), or run extmerge outside of the chroot or container; nothing overrides this";
}

// A missing entry counts as empty. So does one without a value (EINVAL, ENODEV, ENXIO and
// EOPNOTSUPP of a driver) or of an ended process (ESRCH). An entry that cannot be read is an error,
// not empty.
void check_looked(KernelFiles kind, const fs::path& path, int error_number) {
  switch (error_number) {
    case 0:
    case ENOENT:
    case EINVAL:
    case ENODEV:
    case ENOTDIR:
    case ENXIO:
    case EOPNOTSUPP:
    case ESRCH:
      return;
    default:
      throw cannot_look(kind, path.string(), error_number);
  }
}

bool is_there(const fs::path& path) {
  std::error_code error;
  const bool exists = fs::exists(fs::status(path, error));
  if (!exists) check_looked(KernelFiles::kSysfs, path, error.value());
  return exists;
}

// Parses "253:300". Minors have 20 bits: a host can have more than 256 dm devices.
std::optional<uint64_t> device_number_of(const fs::path& folder) {
  const std::string text = read_text(KernelFiles::kSysfs, folder / "dev");
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto major = static_cast<unsigned>(std::strtoul(text.c_str(), nullptr, 10));
  const auto minor = static_cast<unsigned>(std::strtoul(text.c_str() + colon + 1, nullptr, 10));
  return gnu_dev_makedev(major, minor);
}

}  // namespace

Error cannot_look(KernelFiles kind, const std::string& path, int error_number) {
  if (error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM) {
    return system_error("read", path, error_number, MessageId::kCannotLook);
  }
  return cannot_look(kind, path, errno_text(error_number));
}

Error cannot_look(KernelFiles kind, const std::string& path, const std::string& why) {
  return cannot_look(path, why, cure_of(kind));
}

void check_told_by_kernel(const SystemRoot& root, KernelFiles kind, const std::string& path) {
  struct statfs file_system {};
  if (::statfs(path.c_str(), &file_system) != 0) throw cannot_look(kind, path, errno);
  const uint64_t magic = kind == KernelFiles::kSysfs ? SYSFS_MAGIC : PROC_SUPER_MAGIC;
  if (root.is_kernels && static_cast<uint64_t>(file_system.f_type) != magic) {
    const std::string name = kind == KernelFiles::kSysfs ? "sysfs" : "proc";
    throw cannot_look(kind, path, "it is not part of a file system of the type " + name);
  }
}

std::string required_text(const SystemRoot& root, const std::string& path) {
  std::string text = read_text(KernelFiles::kProcfs, path);
  check_told_by_kernel(root, KernelFiles::kProcfs, path);
  if (text.empty()) throw cannot_look(KernelFiles::kProcfs, path, "it is empty");
  return text;
}

std::string read_text(KernelFiles kind, const fs::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) check_looked(kind, path, errno);
  std::string text;
  char piece[4096];
  for (ssize_t length = 1; file && length > 0;) {
    length = ::read(file.get(), piece, sizeof piece);
    if (length > 0) text.append(piece, static_cast<size_t>(length));
    if (length < 0) check_looked(kind, path, errno);
  }
  return text;
}

std::vector<fs::path> entries_of(KernelFiles kind, const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    entries.push_back(i->path());
  }
  check_looked(kind, folder, error.value());
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::vector<uint64_t> device_numbers_in(const fs::path& folder) {
  std::vector<uint64_t> numbers;
  for (const fs::path& entry : entries_of(KernelFiles::kSysfs, folder)) {
    if (const auto number = device_number_of(entry)) numbers.push_back(*number);
  }
  return numbers;
}

SysfsBlock::SysfsBlock(const SystemRoot& root, uint64_t device_number) {
  const std::string name = std::to_string(gnu_dev_major(device_number)) + ":" +
                           std::to_string(gnu_dev_minor(device_number));
  const fs::path listed = fs::path(root.sys) / "dev/block";
  std::error_code error;
  folder_ = fs::canonical(listed / name, error);
  if (!error) {
    try {
      check_told_by_kernel(root, KernelFiles::kSysfs, folder_.string());
      return;
    } catch (const Error&) {
      if (is_there(folder_)) throw;
      // The device was removed just now.
    }
  }
  folder_.clear();
  check_told_by_kernel(root, KernelFiles::kSysfs, listed.string());
  std::error_code ignored;
  const bool is_listed = fs::exists(fs::symlink_status(listed / name, ignored));
  if (error.value() == ENOENT && !is_listed) return;
  throw cannot_look(KernelFiles::kSysfs, (listed / name).string(), error.value());
}

std::string SysfsBlock::kernel_name() const {
  // sysfs shows a slash in a device's name (cciss/c0d0) as an exclamation mark.
  std::string name = folder_.filename().string();
  std::replace(name.begin(), name.end(), '!', '/');
  return name;
}

std::string SysfsBlock::text(const std::string& attribute) const {
  if (folder_.empty()) return "";
  std::string contents = read_text(KernelFiles::kSysfs, folder_ / attribute);
  if (!contents.empty() && contents.back() == '\n') contents.pop_back();
  return contents;
}

uint64_t SysfsBlock::number(const std::string& attribute) const {
  return std::strtoull(text(attribute).c_str(), nullptr, 10);
}

bool SysfsBlock::has(const std::string& attribute) const {
  return !folder_.empty() && is_there(folder_ / attribute);
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
  for (const fs::path& entry : entries_of(KernelFiles::kSysfs, folder_)) {
    if (!is_there(entry / "partition")) continue;
    if (const auto number = device_number_of(entry)) numbers.push_back(*number);
  }
  return numbers;
}

std::optional<uint64_t> SysfsBlock::disk() const {
  if (!has("partition")) return std::nullopt;
  return device_number_of(folder_.parent_path());
}

}  // namespace extmerge
