// SPDX-License-Identifier: GPL-3.0-or-later
//
// What is held for a job during a command. The merge asks for devices, for mappings and for facts
// here, and knows no LVM and no device-mapper. Whoever implements this (cli/source, or a test with
// simulated disks) gives back on every way out what it has frozen, reserved or activated.

#pragma once

#include <memory>
#include <string>

#include "io/block_device.h"
#include "io/device_facts.h"
#include "io/file_device.h"

namespace extmerge {

struct Job;
struct JournalPlace;

class Custody {
 public:
  virtual ~Custody() = default;

  // Opens one of the job's devices. Throws what FileDevice::open() throws.
  virtual std::shared_ptr<BlockDevice> open(const DeviceFacts& facts, OpenMode mode,
                                            Bytes ends_multiple_of) = 0;
  // Where an undo log lies that a journal names by its path.
  virtual JournalPlace undo_log_at(const std::string& path) = 0;
  // Fills in the origin, the thins over it and its users as they are now. Throws if the thin is
  // not still any more.
  virtual void look_again(Job&) {}

  // Whether the mappings are read from a metadata snapshot that was reserved for this command.
  // Else the user holds one, and it must stay held to the end.
  virtual bool owns_mappings() const { return false; }
  // Releases it: the plan is in the journal, and the mappings are not read any more.
  virtual void release_mappings() {}
  // Reserves a new one, which shows the pool as it is now. release_mappings() ends that, too.
  virtual void reserve_mappings() {}

  // Called before progress is recorded, and about once a second, from any thread. Throws if the
  // origin is not ours any more.
  virtual void check_origin() {}
};

}  // namespace extmerge
