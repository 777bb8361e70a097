// SPDX-License-Identifier: GPL-3.0-or-later
//
// An external origin of LVM, written to by nobody else and offered to nobody. LVM keeps a layer of
// its own (VG-ORIGIN-real) below the origin as long as a thin over it is active; everything that
// reads the origin reads that layer. The merge loads the layer read-write and writes through a node
// of its own:
//
//   VG-SNAP  VG-ORIGIN (read-only, while merged: an error table)    VG-ORIGIN-extmerge (ours, held
//   with O_EXCL)
//         \          |                                             /
//          VG-ORIGIN-real (read-write during the merge, in no list of file systems)
//
// libblkid and udev pass over the layer and our node, since their uuids have a suffix as those of
// all hidden layers have. So no half-merged file system is found by its uuid or label. The origin's
// own node keeps its names, and while the origin is half merged, reading it fails. The kernel
// removes our node when it is closed, whatever becomes of this process.
//
// If no thin over the origin is active, one is activated for a moment ("carrier"), so that LVM
// makes the layer. LVM may load the layer read-only under us at any time (lvchange --refresh,
// lvcreate -s): see check().

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/source/dm/device_mapper.h"
#include "cli/source/lvm/lvm.h"
#include "io/file_device.h"

namespace extmerge {

// Activates a thin over the origin, and deactivates it again.
struct Carrier {
  std::function<void()> activate, deactivate;
};

class OriginNode {
 public:
  enum class Use { kRead, kWrite };

  // kWrite claims the origin first, if it is active, and hides its contents. Throws kInUse, kLocked
  // if it cannot be claimed, kLvmRefused.
  OriginNode(const LogicalVolume& origin, Use use, const Carrier& carrier);
  // The node is gone and the layer is read-only again, and gone if nobody else uses it. The
  // origin's own node, if it was hidden, stays so: see show_origin().
  ~OriginNode();
  OriginNode(const OriginNode&) = delete;
  OriginNode& operator=(const OriginNode&) = delete;

  uint64_t device_number() const { return node_; }
  // Of the node, as facts of the origin: its identity and path, and what else uses it.
  DeviceFacts facts() const;
  // To write through, under the claim, or for reading only.
  std::shared_ptr<FileDevice> open(OpenMode mode, Bytes ends_multiple_of) const;

  // A layer that was made read-only is made writable again, and an origin that was activated is
  // hidden. Throws kOriginTakenBack if LVM has changed more than that.
  void check() const;

 private:
  void claim_origin();
  void find_layer(const Carrier& carrier);
  void make_node();
  void hide_origin() const;
  void put_back();
  DeviceFacts node_facts() const;

  const LogicalVolume origin_;
  const Use use_;
  const UdevStep udev_;
  uint64_t top_ = 0;  // the origin's own node, 0 if it is inactive
  uint64_t layer_ = 0;
  uint64_t node_ = 0;
  DmTable layer_table_;  // as it was found
  FileDescriptor origin_claim_, claim_;
};

// What a run that was killed has left: our node is removed, all others are read-only, and a layer
// that nobody uses is removed.
void clear_origin_nodes(const LogicalVolume& origin);
// Throws kInUse if an extmerge with another state directory has the origin open.
void refuse_other_merge(const LogicalVolume& origin);
// An origin that OriginNode has hidden is readable again if it `was_active`, otherwise inactive.
// Throws if it stays hidden, or if LVM was stopped.
void show_origin(const Lvm& lvm, const LogicalVolume& origin, bool was_active);
// Whether the device has the table of a hidden origin.
bool is_hidden(uint64_t device_number);

}  // namespace extmerge
