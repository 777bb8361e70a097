// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/device_identity.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "io/file_system_id.h"
#include "io/hash.h"
#include "io/identity.h"
#include "io/loop_backing.h"
#include "io/mount_table.h"
#include "io/text.h"

namespace extmerge {

namespace {

// Turns each run of spaces, as in SCSI names, into one underscore: identities become file names.
std::string squeezed(const std::string& text) {
  std::string squeezed;
  bool gap = false;
  for (const char c : text) {
    const bool visible = c > ' ' && c < 0x7f;
    if (visible && gap && !squeezed.empty()) squeezed += '_';
    if (visible) squeezed += c;
    gap = !visible;
  }
  return squeezed;
}

std::string identity_of_backing(const SystemRoot& root, const LoopBacking& backing) {
  if (backing.device_number != 0) {
    const uint64_t sectors = SysfsBlock(root, backing.device_number).number("size");
    return identity_of_device(root, backing.device_number, to_bytes(Sectors(sectors)));
  }
  struct statx status {};
  const bool named =
      ::statx(AT_FDCWD, backing.path.c_str(), 0, kFileIdentityMask, &status) == 0 &&
      status.stx_ino == backing.inode &&
      gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor) == backing.file_system;
  if (named) return identity_of_file(root, backing.path, status);
  status = {};  // deleted, or in another mount namespace
  status.stx_ino = backing.inode;
  return identity_of_file(status);
}

std::string identity_of_disk(const SysfsBlock& disk) {
  for (const char* attribute : {"wwid", "device/wwid", "device/cid"}) {
    const std::string name = squeezed(disk.text(attribute));
    if (!name.empty()) return "wwid:" + name;
  }
  // Do not use device/serial: an NVMe controller has one for all its namespaces. Some drivers show
  // "(null)" for a missing number.
  const std::string serial = squeezed(disk.text("serial"));
  return serial.empty() || serial == "(null)" ? "" : "serial:" + serial;
}

}  // namespace

std::string identity_of_file(const struct statx& status) {
  std::string born = "0";
  if ((status.stx_mask & STATX_BTIME) != 0) {
    born = std::to_string(status.stx_btime.tv_sec) + "." + std::to_string(status.stx_btime.tv_nsec);
  }
  return "file:ino=" + std::to_string(status.stx_ino) + ",born=" + born;
}

std::string identity_of_file(const SystemRoot& root, const std::string& path,
                             const struct statx& status) {
  std::string name = identity_of_file(status);
  const std::string file_system = file_system_id(path);
  if (!file_system.empty()) name += ",fs=" + hex(hash_of(file_system));
  const std::vector<uint64_t> devices = devices_under_file(root, path, status);
  if (devices.size() != 1) return name;
  const uint64_t sectors = SysfsBlock(root, devices[0]).number("size");
  const std::string device = identity_of_device(root, devices[0], to_bytes(Sectors(sectors)));
  if (device.starts_with("device:") || device.starts_with("dm-name:")) return name;
  return name + (is_certain_identity(device) ? ",on=" : ",over=") + hex(hash_of(device));
}

std::string identity_of_device(const SystemRoot& root, uint64_t device_number, Bytes size) {
  const SysfsBlock block(root, device_number);
  if (const auto disk = block.disk()) {
    const uint64_t disk_sectors = SysfsBlock(root, *disk).number("size");
    return identity_of_device(root, *disk, to_bytes(Sectors(disk_sectors))) +
           ",partition=" + block.text("partition") + ",start=" + block.text("start");
  }
  if (const std::string uuid = block.text("dm/uuid"); !uuid.empty()) return "dm:" + uuid;
  if (const std::string name = block.text("dm/name"); !name.empty()) return "dm-name:" + name;
  if (const std::string uuid = block.text("md/uuid"); !uuid.empty()) return "md:" + uuid;
  if (const auto backing = loop_backing(root, device_number)) {
    const std::string name = identity_of_backing(root, *backing);
    return backing->is_whole() ? name : "loop:" + name + "+" + std::to_string(backing->offset);
  }
  if (const std::string name = identity_of_disk(block); !name.empty()) return name;

  std::string name = block.kernel_name();
  if (name.empty()) {
    name = std::to_string(gnu_dev_major(device_number)) + ":" +
           std::to_string(gnu_dev_minor(device_number));
  }
  return "device:" + name + ",size=" + std::to_string(size.value());
}

}  // namespace extmerge
