// SPDX-License-Identifier: GPL-3.0-or-later
//
// A metadata snapshot of an active pool, reserved by message and held only while the
// mappings are read. There is one per pool: a held one that is not ours is never
// touched. What is done is noted before and after, so that the next run can tell
// whether one that a killed run left behind was ours.

#pragma once

#include <functional>
#include <string>

#include "cli/source/change_record.h"
#include "cli/source/dm/device_mapper.h"

namespace extmerge {

struct ThinPool {
  uint64_t device_number = 0;  // of the thin-pool target itself (LVM: -tpool)
  std::string name, uuid;      // device-mapper's
  uint64_t metadata = 0, data = 0;
};

// The pool with that device number. Throws kUnfitPool if it is none.
ThinPool find_pool(uint64_t device_number);

// Whether the pool can be worked with: not failed, not read-only, metadata not nearly
// full, needs_check not set. Throws kUnfitPool, kPoolFull, kNeedsCheck.
void check_pool(const ThinPool& pool, const PoolStatus& status);

class MetadataHold {
 public:
  using Note = std::function<void()>;  // makes `changes` durable
  // Reserves. Throws kMetadataSnapshotHeld if one is held already.
  MetadataHold(ThinPool pool, SystemChanges& changes, Note note);
  ~MetadataHold();
  MetadataHold(const MetadataHold&) = delete;
  MetadataHold& operator=(const MetadataHold&) = delete;

  void release();

 private:
  void forget();

  const ThinPool pool_;
  SystemChanges& changes_;
  const Note note_;
  bool held_ = false;
};

// Releases the metadata snapshot that a killed run reserved, if it is certain that it
// was ours; `changes.holding` says that there may be one, and what is returned whether
// it said so. Throws kMetadataSnapshotHeld if it is not certain.
// The pool is the one in the record, whichever is worked in now; kUnfitPool if that is
// not active.
bool reclaim_metadata_snapshot(SystemChanges& changes, const MetadataHold::Note& note);
// The same where the merge is given up: a pool that is not active is no failure.
bool give_up_metadata_snapshot(SystemChanges& changes, const MetadataHold::Note& note);

}  // namespace extmerge
