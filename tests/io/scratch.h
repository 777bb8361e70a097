// SPDX-License-Identifier: GPL-3.0-or-later
//
// Helpers for the tests of io/: a temporary directory, temporary loop devices, and a fake sysfs and
// /proc.

#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/device_facts.h"
#include "io/error.h"
#include "io/file_device.h"
#include "io/sysfs.h"

namespace extmerge {

class ScratchDirectory {
 public:
  // In $TMPDIR or /tmp, or in `parent`.
  explicit ScratchDirectory(const std::string& parent = std::filesystem::temp_directory_path());
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  std::string path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // A file of `size` bytes, each the low byte of its offset divided by 512, plus `seed`.
  std::string make_file(const std::string& name, size_t size, unsigned char seed = 0) const;

 private:
  std::string path_;
};

// The bytes make_file() writes.
std::vector<std::byte> pattern(size_t size, unsigned char seed = 0);

// A loop device over `file`, made with losetup. The destructor detaches only this device: other
// programs have loop devices of their own.
class ScratchLoopDevice {
 public:
  // `options` go to losetup: "-r", "-b 4096", "-P".
  explicit ScratchLoopDevice(const std::string& file, const std::string& options = "");
  ~ScratchLoopDevice();
  ScratchLoopDevice(const ScratchLoopDevice&) = delete;
  ScratchLoopDevice& operator=(const ScratchLoopDevice&) = delete;

  // False if this machine has no loop devices.
  bool works() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  uint64_t number() const;

 private:
  std::string path_;
};

#define SKIP_UNLESS(loop) \
  if (!(loop).works()) GTEST_SKIP() << "losetup cannot make a loop device here"

// An ext4 file system on a loop device, mounted for the lifetime of the object.
class Mounted {
 public:
  Mounted(const std::string& device, const std::string& where);
  ~Mounted();
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;
  bool works() const { return works_; }

 private:
  std::string where_;
  bool works_ = false;
};

// A sysfs, /proc and /dev in a scratch directory.
class FakeSystem {
 public:
  using Attributes = std::map<std::string, std::string>;

  FakeSystem();
  SystemRoot root() const;

  // A device, and below a disk its partition. Returns the device's number.
  uint64_t add_device(const std::string& name, unsigned major, unsigned minor,
                      const Attributes& attributes = {});
  uint64_t add_partition(const std::string& disk, const std::string& name, unsigned major,
                         unsigned minor, const Attributes& attributes = {});
  // `upper` (dm, md) is made of `lower`.
  void stack(const std::string& upper, const std::string& lower);
  void add_btrfs(const std::string& uuid, const std::vector<std::string>& devices);
  void set_mounts(const std::string& mountinfo);
  void set_swaps(const std::string& swaps);

 private:
  uint64_t describe(const std::filesystem::path& folder, unsigned major, unsigned minor,
                    const Attributes& attributes);
  ScratchDirectory scratch_;
  std::map<std::string, std::filesystem::path> folders_;
};

// The id of the Error that `call` throws; kNothingThrown if it does not.
inline constexpr MessageId kNothingThrown = static_cast<MessageId>(0);
template <typename Call>
MessageId thrown_by(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.id();
  }
  return kNothingThrown;
}

// Opens a device by its path alone. Whole blocks of 4096 bytes fit every file and device.
inline std::unique_ptr<FileDevice> open_at(const std::string& path, OpenMode mode,
                                           Bytes ends_multiple_of = Bytes(4096)) {
  return FileDevice::open(inspect(path), mode, ends_multiple_of);
}
inline MessageId opening(const std::string& path, OpenMode mode) {
  return thrown_by([&] { open_at(path, mode); });
}

// No further file can be opened during its lifetime.
class NoMoreFiles {
 public:
  NoMoreFiles() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int lowest_free = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(lowest_free);
    const rlimit none{static_cast<rlim_t>(lowest_free), before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoMoreFiles() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define EXTMERGE_SANITIZED
#endif
#endif

// The size of the images under the tests' loop devices.
inline constexpr size_t kImageSize = size_t{8} << 20;

}  // namespace extmerge
