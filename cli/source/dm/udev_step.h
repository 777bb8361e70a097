// SPDX-License-Identifier: GPL-3.0-or-later
//
// A device-mapper task in step with udev. The kernel announces each node that is made, resumed,
// renamed or removed; udev's rules then make its links and look at its contents. libdevmapper tells
// the rules what to do by a cookie that travels with the task, and waits for them on a semaphore of
// that number. A task without a cookie makes the rules take the links of the node away.
//
// Source: libdevmapper.h (DM_UDEV_*), and dmsetup(8) on udevcookies. A cookie is 0x0D4D and 16 bits
// of one's own choice. Ours are made of the volume's uuid, so that the next run for that volume
// finds the semaphore that a killed run has left.

#pragma once

#include <cstdint>
#include <string>

struct dm_task;

namespace extmerge {

// What udev's rules do with the node.
enum class UdevRules {
  kAll,        // an ordinary volume: all links, and its contents are looked at
  kNamesOnly,  // its names in /dev/mapper and /dev/VG, and nobody looks at its contents
  kHidden,     // LVM's own hidden layers: its name in /dev/mapper and nothing else
  // As kHidden, of a removal that waits until the node is closed: udev takes the name away then,
  // and not libdevmapper at once.
  kHiddenUntilClosed,
};

class UdevStep {
 public:
  // The caller holds the lock of the journal that belongs to the volume with that dm uuid.
  explicit UdevStep(const std::string& dm_uuid);

  // Runs the task and waits until udev is done with it, also after a failure. Without udevd, or
  // with DM_DISABLE_UDEV, it only runs the task. Returns what dm_task_run() returns. Throws
  // kLvmRefused.
  bool run(dm_task* task, UdevRules rules) const;

  // Removes the semaphore that a killed run has left.
  void discard() const;

  uint32_t cookie() const { return cookie_; }

 private:
  void create() const;
  void wait() const;

  uint32_t cookie_;
};

}  // namespace extmerge
