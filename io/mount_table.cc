// SPDX-License-Identifier: GPL-3.0-or-later
//
// Formats: proc(5) for mountinfo and swaps. mountinfo is
//   36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//   id parent dev  root  point options (0 or more tags) - type source super-options

#include "io/mount_table.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <system_error>

namespace extmerge {

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

std::vector<Mount> read_mounts(const SystemRoot& root) {
  std::vector<Mount> mounts;
  std::istringstream lines(read_text(root.proc + "/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Mount mount;
    std::string parent, device, root_in_it, point, word, type, source;
    words >> mount.id >> parent >> device >> root_in_it >> point;
    while (words >> word && word != "-") continue;
    words >> type >> source;
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
  // Major 0 is for file systems without a device of their own.
  if (gnu_dev_major(mount.device_number) != 0) return {mount.device_number};
  struct stat status;
  if (mount.source.empty() || mount.source.front() != '/' ||
      ::stat(mount.source.c_str(), &status) != 0 || !S_ISBLK(status.st_mode)) {
    return {};
  }
  namespace fs = std::filesystem;
  std::error_code error;
  for (fs::directory_iterator i(root.sys + "/fs/btrfs", error), end; !error && i != end;
       i.increment(error)) {
    std::vector<uint64_t> devices = device_numbers_in(i->path() / "devices");
    if (std::find(devices.begin(), devices.end(), status.st_rdev) != devices.end()) return devices;
  }
  return {status.st_rdev};
}

std::vector<std::string> swap_paths(const SystemRoot& root) {
  std::vector<std::string> paths;
  std::istringstream lines(read_text(root.proc + "/swaps"));
  std::string line;
  std::getline(lines, line);  // the headings
  while (std::getline(lines, line))
    paths.push_back(unescape_octal(line.substr(0, line.find_first_of(" \t"))));
  return paths;
}

}  // namespace extmerge
