// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/io/scratch.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace extmerge {

namespace fs = std::filesystem;

ScratchDirectory::ScratchDirectory(const std::string& parent) {
  path_ = parent + "/extmerge-io.XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no scratch directory");
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string ScratchDirectory::make_file(const std::string& name, size_t size,
                                        unsigned char seed) const {
  const std::vector<std::byte> contents = pattern(size, seed);
  std::ofstream file(*this / name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(contents.data()), static_cast<std::streamsize>(size));
  if (!file.flush()) throw std::runtime_error("cannot write " + *this / name);
  return *this / name;
}

std::vector<std::byte> pattern(size_t size, unsigned char seed) {
  std::vector<std::byte> contents(size);
  for (size_t i = 0; i < size; ++i) contents[i] = static_cast<std::byte>(i / 512 + seed);
  return contents;
}

ScratchLoopDevice::ScratchLoopDevice(const std::string& file, const std::string& options) {
  const std::string command = "losetup -f --show " + options + " '" + file + "' 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "re"), ::pclose);
  std::array<char, 64> line{};
  if (!pipe || std::fgets(line.data(), line.size(), pipe.get()) == nullptr) return;
  path_ = line.data();
  path_.pop_back();
}

ScratchLoopDevice::~ScratchLoopDevice() {
  if (!works()) return;
  if (std::system(("losetup -d " + path_).c_str()) != 0) {
    std::fprintf(stderr, "could not detach %s\n", path_.c_str());
  }
}

uint64_t ScratchLoopDevice::number() const {
  struct stat status;
  if (::stat(path_.c_str(), &status) != 0) throw std::runtime_error("no " + path_);
  return status.st_rdev;
}

Mounted::Mounted(const std::string& device, const std::string& where) : where_(where) {
  fs::create_directory(where);
  const std::string make = "mkfs.ext4 -q -F " + device + " >/dev/null 2>&1";
  works_ = std::system(make.c_str()) == 0 &&
           ::mount(device.c_str(), where.c_str(), "ext4", 0, nullptr) == 0;
}

Mounted::~Mounted() {
  if (works_) ::umount2(where_.c_str(), MNT_DETACH);
}

namespace {

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

}  // namespace

FakeSystem::FakeSystem() {
  for (const char* folder : {"sys/dev/block", "sys/block", "dev"}) {
    fs::create_directories(fs::path(scratch_.path()) / folder);
  }
  set_mounts("1 0 0:1 / /proc rw - proc proc rw\n");
  set_swaps("");
  // The device under the tests' images, which are real files of this machine.
  struct stat status;
  if (::stat(scratch_.path().c_str(), &status) != 0) throw std::runtime_error("no scratch");
  if (gnu_dev_major(status.st_dev) != 0) {
    add_device("below", gnu_dev_major(status.st_dev), gnu_dev_minor(status.st_dev));
  }
}

SystemRoot FakeSystem::root() const {
  return {scratch_ / "sys", scratch_ / "proc", scratch_ / "dev", false};
}

uint64_t FakeSystem::describe(const fs::path& folder, unsigned major, unsigned minor,
                              const Attributes& attributes) {
  const std::string number = std::to_string(major) + ":" + std::to_string(minor);
  fs::create_directories(folder / "slaves");
  fs::create_directories(folder / "holders");
  write_text(folder / "dev", number + "\n");
  for (const auto& [name, value] : attributes) write_text(folder / name, value + "\n");
  fs::remove(scratch_ / "sys/dev/block/" + number);
  fs::create_directory_symlink(folder, scratch_ / "sys/dev/block/" + number);
  folders_[folder.filename()] = folder;
  return gnu_dev_makedev(major, minor);
}

uint64_t FakeSystem::add_device(const std::string& name, unsigned major, unsigned minor,
                                const Attributes& attributes) {
  const fs::path folder = scratch_ / "sys/devices/" + name;
  const uint64_t number = describe(folder, major, minor, attributes);
  fs::create_directory_symlink(folder, scratch_ / "sys/block/" + name);
  return number;
}

uint64_t FakeSystem::add_partition(const std::string& disk, const std::string& name, unsigned major,
                                   unsigned minor, const Attributes& attributes) {
  return describe(folders_.at(disk) / name, major, minor, attributes);
}

void FakeSystem::stack(const std::string& upper, const std::string& lower) {
  fs::create_directory_symlink(folders_.at(lower), folders_.at(upper) / "slaves" / lower);
  fs::create_directory_symlink(folders_.at(upper), folders_.at(lower) / "holders" / upper);
}

void FakeSystem::add_btrfs(const std::string& uuid, const std::vector<std::string>& devices) {
  const fs::path folder = fs::path(scratch_ / "sys/fs/btrfs") / uuid / "devices";
  fs::create_directories(folder);
  for (const std::string& device : devices) {
    fs::create_directory_symlink(folders_.at(device), folder / device);
  }
}

void FakeSystem::set_mounts(const std::string& mountinfo) {
  write_text(scratch_ / "proc/self/mountinfo", mountinfo);
}

void FakeSystem::set_swaps(const std::string& swaps) {
  write_text(scratch_ / "proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + swaps);
}

}  // namespace extmerge
