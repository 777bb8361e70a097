// SPDX-License-Identifier: GPL-3.0-or-later
//
// An external origin of LVM, made writable for the length of a merge. LVM keeps it
// read-only as long as a thin reads it, so the tables of the layer below (-real) and
// of the volume itself are loaded once more without that flag; the merge writes
// through the volume itself and holds that with O_EXCL. LVM may put either back
// under us at any time (lvchange --refresh, lvcreate -s, lvrename): see check().

#pragma once

#include <string>

#include "cli/lvm.h"

namespace extmerge {

class WritableOrigin {
 public:
  // Activates the volume and makes both nodes writable.
  WritableOrigin(const Lvm& lvm, const LogicalVolume& origin, bool was_active);
  // Read-only again, and inactive if it was.
  ~WritableOrigin();
  WritableOrigin(const WritableOrigin&) = delete;
  WritableOrigin& operator=(const WritableOrigin&) = delete;

  const std::string& path() const { return path_; }

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
};

// Puts back what a run that was killed left writable: both nodes read-only, and the
// volume inactive if it was.
void make_origin_read_only(const Lvm& lvm, const LogicalVolume& origin, bool was_active);

}  // namespace extmerge
