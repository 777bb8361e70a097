// SPDX-License-Identifier: GPL-3.0-or-later
//
// An external origin of LVM, made writable for the length of a merge. LVM keeps it
// read-only as long as a thin reads it, so the tables of the layer below (-real) and
// of the volume itself are loaded once more without that flag; the merge writes
// through the volume itself and holds that with O_EXCL. LVM may put either back
// under us at any time (lvchange --refresh, lvcreate -s, lvrename): see check().

#pragma once

#include <memory>
#include <string>

#include "cli/lvm.h"
#include "io/file_device.h"

namespace extmerge {

class WritableOrigin {
 public:
  // Activates the volume, claims it, and only then makes both nodes writable: nobody
  // else can mount it meanwhile. Throws kInUse if it cannot be claimed.
  WritableOrigin(const Lvm& lvm, const LogicalVolume& origin, bool was_active);
  // Read-only again, and inactive if it was.
  ~WritableOrigin();
  WritableOrigin(const WritableOrigin&) = delete;
  WritableOrigin& operator=(const WritableOrigin&) = delete;

  const std::string& path() const { return path_; }

  uint64_t device_number() const { return top_; }
  // To write through, under that claim, which stays until both nodes are read-only again.
  std::unique_ptr<FileDevice> open(const DeviceFacts& facts) const;

  // The layer below read-only again: made writable once more. The volume itself:
  // throws kOriginTakenBack.
  void check() const;

 private:
  void put_back();

  const Lvm& lvm_;
  const LogicalVolume origin_;
  const bool was_active_;
  uint64_t top_ = 0;
  uint64_t layer_ = 0;  // 0 if there is none
  std::string path_;
  FileDescriptor claim_;
};

// Both nodes read-only, where a run that was killed left them writable.
void make_nodes_read_only(const LogicalVolume& origin);
// Puts back what a run that was killed left writable: both nodes read-only, and the
// volume inactive if it was.
void make_origin_read_only(const Lvm& lvm, const LogicalVolume& origin, bool was_active);

}  // namespace extmerge
