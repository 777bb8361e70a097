// SPDX-License-Identifier: GPL-3.0-or-later
//
// Formats: proc(5) for mountinfo and swaps. mountinfo is
//   36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//   id parent dev  root  point options (0 or more tags) - type source super-options

#include "io/mount_table.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "io/error.h"

namespace extmerge {

bool is_in_memory(const std::string& path) {
  struct statfs file_system {};
  if (::statfs(path.c_str(), &file_system) != 0) return false;
  const auto type = static_cast<uint64_t>(file_system.f_type);
  return type == TMPFS_MAGIC || type == RAMFS_MAGIC;
}

std::string unescape_octal(std::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view digits = text.substr(i + 1, 3);
    if (text[i] == '\\' && digits.size() == 3 &&
        std::all_of(digits.begin(), digits.end(), is_octal)) {
      plain += static_cast<char>((digits[0] - '0') * 64 + (digits[1] - '0') * 8 + digits[2] - '0');
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

namespace {

// /proc/swaps is missing in a kernel without swap, and in a procfs that shows only processes
// (subset=pid). Only the first one has this line in /proc/meminfo.
bool kernel_has_no_swap(const SystemRoot& root) {
  const std::string facts = read_text(KernelFiles::kProcfs, root.proc + "/meminfo");
  constexpr std::string_view kTotal = "\nSwapTotal:";
  const size_t at = facts.find(kTotal);
  if (at == std::string::npos) return false;
  std::istringstream words(facts.substr(at + kTotal.size()));
  uint64_t total = 0;
  return words >> total && total == 0;
}

}  // namespace

std::vector<Mount> read_mounts(const SystemRoot& root) {
  std::vector<Mount> mounts;
  std::istringstream lines(required_text(root, root.proc + "/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Mount mount;
    std::string parent, device, root_in_it, point, word, source;
    words >> mount.id >> parent >> device >> root_in_it >> point;
    while (words >> word && word != "-") continue;
    words >> mount.type >> source;
    unsigned major = 0, minor = 0;
    if (!words || std::sscanf(device.c_str(), "%u:%u", &major, &minor) != 2) continue;
    mount.device_number = gnu_dev_makedev(major, minor);
    mount.mount_point = unescape_octal(point);
    mount.source = unescape_octal(source);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

std::vector<uint64_t> devices_under(const SystemRoot& root, const Mount& mount) {
  // Major 0 means a file system without a device of its own.
  if (gnu_dev_major(mount.device_number) != 0) return {mount.device_number};
  struct stat status {};
  const bool is_known = mount.source.starts_with('/') &&
                        ::stat(mount.source.c_str(), &status) == 0 && S_ISBLK(status.st_mode);
  if (!is_known && mount.type != "btrfs") return {};
  std::vector<uint64_t> all;
  for (const std::filesystem::path& each :
       entries_of(KernelFiles::kSysfs, root.sys + "/fs/btrfs")) {
    const std::vector<uint64_t> devices = device_numbers_in(each / "devices");
    if (is_known && std::ranges::find(devices, status.st_rdev) != devices.end()) return devices;
    all.insert(all.end(), devices.begin(), devices.end());
  }
  return is_known ? std::vector<uint64_t>{status.st_rdev} : all;
}

Error unknown_device(const SystemRoot& root, uint64_t device_number, const std::string& what) {
  const std::string number = std::to_string(gnu_dev_major(device_number)) + ":" +
                             std::to_string(gnu_dev_minor(device_number));
  return cannot_look(KernelFiles::kSysfs, root.sys + "/dev/block",
                     "it does not show " + number + ", the device of " + what);
}

std::vector<uint64_t> devices_under_file(const SystemRoot& root, const std::string& path,
                                         const struct statx& status) {
  const uint64_t file_system = gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor);
  if (status.stx_dev_major != 0) {
    if (SysfsBlock(root, file_system).is_known()) return {file_system};
    throw unknown_device(root, file_system, "the file system of " + path);
  }
  const bool knows_mount = (status.stx_mask & STATX_MNT_ID) != 0;
  for (const Mount& mount : read_mounts(root)) {
    if (knows_mount ? mount.id == status.stx_mnt_id : mount.device_number == file_system) {
      return devices_under(root, mount);
    }
  }
  if (is_in_memory(path) || !root.is_kernels) return {};
  throw cannot_look(root.proc + "/self/mountinfo", "it does not show the mount of " + path,
                    "run extmerge outside of the chroot, or make its root a mount point of its own "
                    "(mount --bind)");
}

std::vector<std::string> swap_paths(const SystemRoot& root) {
  std::vector<std::string> paths;
  const std::string path = root.proc + "/swaps";
  const std::string text = read_text(KernelFiles::kProcfs, path);
  if (text.empty()) {
    if (::access(path.c_str(), F_OK) != 0 && kernel_has_no_swap(root)) return paths;
    throw cannot_look(KernelFiles::kProcfs, path, "it is missing or empty");
  }
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);  // the headings
  while (std::getline(lines, line))
    paths.push_back(unescape_octal(line.substr(0, line.find_first_of(" \t"))));
  return paths;
}

void check_facts_are_told(const SystemRoot& root) {
  for (const char* const folder : {"/dev/block", "/block"}) {
    check_told_by_kernel(root, KernelFiles::kSysfs, root.sys + folder);
  }
  read_mounts(root);
  swap_paths(root);
}

}  // namespace extmerge
