// SPDX-License-Identifier: GPL-3.0-or-later
//
// Block devices in the kernel's sysfs: their names, and the devices under and over them. Internal
// to io/.
//
// Layout: dev/block/MAJOR:MINOR is a link to the device's folder. In it, `slaves` and `holders`
// have links to other devices' folders (dm, md). A disk's partitions are subfolders with a file
// `partition`. The file `dev` has the number. Folders may disappear while they are read, so a
// missing entry counts as empty. A sysfs that is missing itself, or an entry that cannot be read,
// is kCannotLook.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/error.h"

namespace extmerge {

// The kernel's file systems; tests have trees of their own. Device numbers are always those of
// stat(2).
struct SystemRoot {
  std::string sys = "/sys";
  std::string proc = "/proc";
  std::string dev = "/dev";
  bool is_kernels = true;  // false: plain files of a test, not sysfs, procfs and device nodes
};

// The two file systems with the kernel's facts.
enum class KernelFiles { kSysfs, kProcfs };

// The Error for a file or folder in them: kTooManyFiles, kNoMemory, or else kCannotLook, which
// tells how to mount the file system.
Error cannot_look(KernelFiles kind, const std::string& path, int error_number);
Error cannot_look(KernelFiles kind, const std::string& path, const std::string& why);

// Throws that Error unless `path` exists and belongs to that file system. Otherwise an empty mount
// point would look like a kernel without facts.
void check_told_by_kernel(const SystemRoot& root, KernelFiles kind, const std::string& path);

class SysfsBlock {
 public:
  SysfsBlock(const SystemRoot& root, uint64_t device_number);

  bool is_known() const { return !folder_.empty(); }
  // "dm-3", "sda1"; empty if sysfs does not know the device.
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

// The entries of `folder`, sorted; none if the folder is missing.
std::vector<std::filesystem::path> entries_of(KernelFiles kind,
                                              const std::filesystem::path& folder);
// The device numbers of all folders (or links to them) in `folder`.
std::vector<uint64_t> device_numbers_in(const std::filesystem::path& folder);

// A small file's contents; empty if the file is missing or has no value.
std::string read_text(KernelFiles kind, const std::filesystem::path& path);
// A small file of /proc that is never empty.
std::string required_text(const SystemRoot& root, const std::string& path);

}  // namespace extmerge
