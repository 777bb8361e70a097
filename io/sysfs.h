// SPDX-License-Identifier: GPL-3.0-or-later
//
// Block devices as the kernel's sysfs shows them: what they are called, which
// lie under and over them. Internal to io/.
//
// Layout: dev/block/MAJOR:MINOR is a link to the device's folder, in which
// `slaves` and `holders` hold links to other devices' folders (dm, md), a disk's
// partitions are subfolders with a file `partition`, and `dev` has the number.
// Folders come and go while they are read, so whatever is missing is nothing.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace extmerge {

// Where the kernel shows itself; tests have trees of their own. Numbers of
// devices, by contrast, are everywhere those of stat(2).
struct SystemRoot {
  std::string sys = "/sys";
  std::string proc = "/proc";
  std::string dev = "/dev";
};

class SysfsBlock {
 public:
  SysfsBlock(const SystemRoot& root, uint64_t device_number);

  // "dm-3", "sda1"; empty for a device sysfs does not know.
  std::string kernel_name() const;
  // An attribute's contents without the newline at the end; empty if there is none.
  std::string text(const std::string& attribute) const;
  uint64_t number(const std::string& attribute) const;  // 0 if there is none
  bool has(const std::string& attribute) const;

  std::vector<uint64_t> slaves() const;
  std::vector<uint64_t> holders() const;
  std::vector<uint64_t> partitions() const;
  std::optional<uint64_t> disk() const;  // of a partition

 private:
  std::filesystem::path folder_;  // with no link in it; empty if unknown
};

// The device numbers of all folders (or links to them) in `folder`.
std::vector<uint64_t> device_numbers_in(const std::filesystem::path& folder);

// A small file's contents; empty if there is none or it is not for us. Throws kTooManyFiles
// and kNoMemory, and so does all of the above: what could not be looked at is not nothing.
std::string read_text(const std::filesystem::path& path);

}  // namespace extmerge
