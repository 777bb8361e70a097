// SPDX-License-Identifier: GPL-3.0-or-later
//
// statfs() has the field f_fsid. ext4, ZFS and bcachefs make it from their own UUID or GUID. XFS,
// and others not listed here, make it from their device number, which changes. FS_IOC_GETFSUUID
// needs Linux 6.9; the calls used here work on all kernels.

#include "io/file_system_id.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>

#include "io/error.h"
#include "io/file_descriptor.h"
#include "io/text.h"

namespace extmerge {

namespace {

constexpr uint64_t kZfsMagic = 0x2fc12fc1;
constexpr uint64_t kBcachefsMagic = 0xca451a4e;

std::string of_statfs(const struct statfs& status) {
  std::array<unsigned char, sizeof status.f_fsid> bytes{};
  std::memcpy(bytes.data(), &status.f_fsid, bytes.size());
  const std::string text = hex(bytes);
  return text.find_first_not_of('0') == std::string::npos ? "" : text;
}

std::string of_btrfs(const FileDescriptor& file) {
  btrfs_ioctl_fs_info_args whole{};
  btrfs_ioctl_get_subvol_info_args part{};
  // The second call returns 1, not 0, if no other subvolume follows.
  if (::ioctl(file.get(), BTRFS_IOC_FS_INFO, &whole) < 0 ||
      ::ioctl(file.get(), BTRFS_IOC_GET_SUBVOL_INFO, &part) < 0) {
    return "";
  }
  return hex(whole.fsid) + ":" + std::to_string(part.treeid) + ":" + hex(part.uuid);
}

// The result of XFS_IOC_FSGEOMETRY_V1: 112 bytes, with the UUID at 64.
struct XfsGeometry {
  std::array<unsigned char, 64> before;
  std::array<unsigned char, 16> uuid;
  std::array<unsigned char, 32> after;
};

std::string of_xfs(const FileDescriptor& file) {
  XfsGeometry geometry{};
  if (::ioctl(file.get(), _IOR('X', 100, XfsGeometry), &geometry) != 0) return "";
  return hex(geometry.uuid);
}

}  // namespace

std::string file_system_id(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct statfs status {};
  if (!file && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
    throw system_error("open", path, errno, MessageId::kCannotLook);
  }
  if (!file || ::fstatfs(file.get(), &status) != 0) return "";
  std::string id;
  switch (static_cast<uint64_t>(status.f_type)) {
    case BTRFS_SUPER_MAGIC:
      id = of_btrfs(file);
      break;
    case XFS_SUPER_MAGIC:
      id = of_xfs(file);
      break;
    case EXT4_SUPER_MAGIC:
    case kZfsMagic:
    case kBcachefsMagic:
      id = of_statfs(status);
      break;
    default:
      break;
  }
  return id.empty() ? "" : std::to_string(status.f_type) + ":" + id;
}

}  // namespace extmerge
