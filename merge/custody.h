// SPDX-License-Identifier: GPL-3.0-or-later
//
// The custody holds things for a job during a command. The merge gets devices, mappings and facts
// from it, and knows neither LVM nor device-mapper. The implementation (cli/source, or a test with
// simulated disks) always gives back what it has frozen, reserved or activated.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/block_device.h"
#include "io/device_facts.h"
#include "io/error.h"
#include "io/file_device.h"
#include "persistent-data/devices.h"

namespace extmerge {

struct Job;
struct JournalPlace;
struct PlanSummary;

struct PoolDevices {
  DeviceFacts metadata;
  DeviceFacts data;
};

class Custody {
 public:
  virtual ~Custody() = default;

  // Opens one of the job's devices. Throws as FileDevice::open() does.
  virtual std::shared_ptr<BlockDevice> open(const DeviceFacts& facts, OpenMode mode,
                                            Bytes ends_multiple_of) = 0;
  // The place of an undo log that a journal names.
  virtual JournalPlace undo_log_at(const std::string& path) = 0;
  // Fills in the origin, the thins over it and its users as they are now. Throws if the thin can be
  // written to.
  virtual void look_again(Job&) {}

  // Whether this command has reserved the metadata snapshot of its mappings. Otherwise the user
  // holds one, which must stay held to the end.
  virtual bool owns_mappings() const { return false; }
  // Releases that metadata snapshot, once the plan is in the journal.
  virtual void release_mappings() {}
  // Reserves a new metadata snapshot, which shows the pool as it is now. release_mappings()
  // releases it.
  virtual void reserve_mappings() {}

  // Reserves a metadata snapshot of another pool that has siblings. release_pool() releases it; one
  // is held at a time. Throws the reason why that pool's mappings cannot be read.
  virtual PoolDevices reserve_pool(const std::string& pool);
  virtual void release_pool() {}

  // Opens siblings of one pool for writing, each through its own device, which no other program can
  // write to until close_siblings(). An empty `pool` is the job's own. Throws kSharedOrigin if
  // another program can write to one of them.
  virtual std::vector<std::shared_ptr<BlockDevice>> open_siblings(const std::string& pool,
                                                                  const std::vector<ThinId>& ids);
  // The devices must be closed by then.
  virtual void close_siblings() {}
  // The refusal of a plan whose bytes would not fit where the origin allocates them (an origin that
  // is a thin of another pool). Not asked for a merge that is resumed.
  virtual Refusal judge_room(const PlanSummary&) { return {}; }

  // Called before progress is recorded, and about once a second, from any thread. Throws if the
  // command has lost the origin.
  virtual void check_origin() {}
};

}  // namespace extmerge
