// SPDX-License-Identifier: GPL-3.0-or-later
//
// A device-mapper task in step with udev. The kernel announces each node that is made, resumed,
// renamed or removed; udev's rules then make its links and look at its contents. libdevmapper sends
// the rules their flags in a cookie, and waits for them on a semaphore of that number. After a task
// without a cookie, the rules remove the node's links.
//
// Source: libdevmapper.h (DM_UDEV_*), and dmsetup(8) on udevcookies. A cookie is 0x0D4D and 16 bits
// of free choice. extmerge computes them from the volume's uuid, so that the next run for that
// volume finds the semaphore of a killed run.

#pragma once

#include <cstdint>
#include <string>

struct dm_task;

namespace extmerge {

// The work of udev's rules on a node.
enum class UdevRules {
  kAll,        // an ordinary volume: all links, and its contents are read
  kNamesOnly,  // its names in /dev/mapper and /dev/VG; its contents are not read
  kHidden,     // as LVM's hidden layers: only its name in /dev/mapper
  // As kHidden, for a removal at the last close: udev removes the name then, libdevmapper does not.
  kHiddenUntilClosed,
};

class UdevStep {
 public:
  // The caller holds the lock of the journal that belongs to the volume with that dm uuid.
  explicit UdevStep(const std::string& dm_uuid);

  // Runs the task and waits until udev is done with it, even after a failure. Without udevd, or
  // with DM_DISABLE_UDEV, run() does not wait. Returns what dm_task_run() returns. Throws
  // kLvmRefused.
  bool run(dm_task* task, UdevRules rules) const;

  // Removes the semaphore of a killed run.
  void discard() const;

  uint32_t cookie() const { return cookie_; }

 private:
  void create() const;
  void wait() const;

  uint32_t cookie_;
};

}  // namespace extmerge
