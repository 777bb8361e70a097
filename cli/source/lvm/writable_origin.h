// SPDX-License-Identifier: GPL-3.0-or-later
//
// An external origin of LVM that only extmerge writes, and that no other program finds. While a
// thin over the origin is active, LVM keeps a layer (VG-ORIGIN-real) below it. All readers of the
// origin read that layer. The merge loads the layer read-write and writes through a node of its
// own:
//
//   VG-SNAP   VG-ORIGIN (*)   VG-ORIGIN-extmerge (held with O_EXCL)
//         \       |          /
//          VG-ORIGIN-real (read-write during the merge, in no list of file systems)
//
//   (*) read-only; an error table during the merge
//
// libblkid and udev skip the layer and extmerge's node, because their uuids have the suffix of
// hidden layers. So a half-merged file system cannot be found by its uuid or label. The origin's
// own node keeps its names, but reading it fails while the origin is half merged. The kernel
// removes extmerge's node at its last close, even if this process is killed.
//
// A copy only reads the origin, through a read-only node over the layer as it is. Several copies
// share that node.
//
// If no thin over the origin is active, extmerge activates one for a moment ("carrier"), so that
// LVM makes the layer. LVM may load the layer read-only at any time (lvchange --refresh, lvcreate
// -s): see check().

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/source/dm/device_mapper.h"
#include "cli/source/lvm/lvm.h"
#include "cli/source/lvm/origin_lock.h"
#include "io/file_device.h"

namespace extmerge {

class OriginNode {
 public:
  enum class Use { kRead, kWrite };

  // kWrite claims the origin first, if it is active, and hides its contents. Where LVM has no layer
  // below the origin, `make_layer` activates a thin over it; the node keeps the layer, so the thin
  // can be deactivated then. Throws kInUse, kLocked if it cannot be claimed, kLvmRefused.
  OriginNode(const LogicalVolume& origin, Use use, const std::function<void()>& make_layer);
  // Removes the node and makes the layer read-only again; removes an unused layer. A hidden origin
  // stays hidden: see show_origin().
  ~OriginNode();
  OriginNode(const OriginNode&) = delete;
  OriginNode& operator=(const OriginNode&) = delete;

  uint64_t device_number() const { return node_; }
  // The facts of the node, with the origin's identity and path, and with the origin's own users.
  DeviceFacts facts() const;
  // Opens the node: for writing under the claim, or for reading only.
  std::shared_ptr<FileDevice> open(OpenMode mode, Bytes ends_multiple_of) const;

  // Makes the layer writable again, and hides an activated origin. Throws kOriginTakenBack if LVM
  // has changed more than that. A freeze or an activation of our own makes the layer read-only,
  // too.
  enum class Changer { kOurselves, kAnyone };
  void check(Changer changer = Changer::kAnyone) const;

 private:
  bool join_readers();
  void claim_origin();
  void find_layer(const std::function<void()>& make_layer);
  void make_node();
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
  ReaderLock readers_;
};

// Clears what a killed run has left: removes its node, makes the other nodes read-only, removes an
// unused layer.
void clear_origin_nodes(const LogicalVolume& origin);
// The same for a node that only copies read, and for the layer below it, unless one of them runs.
void clear_reading_node(const LogicalVolume& origin);
// Throws kInUse if an extmerge with another state directory has the origin open. To read it,
// another reader is no reason.
void refuse_other_merge(const LogicalVolume& origin, OriginNode::Use use = OriginNode::Use::kWrite);
// Whether an extmerge has a node of the origin, or has left one.
bool has_node(const LogicalVolume& origin);
// Makes a hidden origin readable again if it `was_active`, otherwise inactive. Throws if it stays
// hidden, or if LVM was stopped.
void show_origin(const Lvm& lvm, const LogicalVolume& origin, bool was_active);
// Whether the device has the error table of a hidden origin.
bool is_hidden(uint64_t device_number);

}  // namespace extmerge
