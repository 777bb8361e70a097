// SPDX-License-Identifier: GPL-3.0-or-later
//
// A metadata snapshot of an active pool, reserved by message and held only while the mappings are
// read. A pool has at most one: extmerge never touches one that it did not reserve. The record is
// written before and after each step: it tells the next run whether a killed run reserved the one
// that is held.

#pragma once

#include <memory>
#include <string>

#include "cli/source/change_record.h"
#include "cli/source/dm/device_mapper.h"
#include "io/file_device.h"

namespace extmerge {

struct ThinPool {
  uint64_t device_number = 0;  // of the thin-pool target itself (LVM: -tpool)
  std::string name, uuid;      // device-mapper's
  uint64_t metadata = 0, data = 0;
};

// The pool with that device number. Throws kUnfitPool if the device is not a pool.
ThinPool find_pool(uint64_t device_number);

// Opens the pool's metadata device to read it.
std::unique_ptr<FileDevice> open_metadata(const ThinPool& pool);

// Refuses a pool that is failed, read-only, marked needs_check, or whose metadata is nearly full.
// Throws kUnfitPool, kPoolFull, kNeedsCheck.
void check_pool(const ThinPool& pool, const PoolStatus& status);

class MetadataHold {
 public:
  // Reserves a metadata snapshot. Throws kMetadataSnapshotHeld if one is held already. `hold` is
  // its place in the record. Both must outlive it.
  MetadataHold(ThinPool pool, RecordedChanges& recorded, RecordedHold& hold);
  // Releases it. Logs a failure.
  ~MetadataHold();
  // Leaves it reserved: the record says so, and a later command releases it.
  void leave() { is_left_ = true; }
  MetadataHold(const MetadataHold&) = delete;
  MetadataHold& operator=(const MetadataHold&) = delete;

 private:
  const ThinPool pool_;
  RecordedChanges& recorded_;
  RecordedHold& hold_;
  bool is_left_ = false;
};

// Releases the metadata snapshot that a killed run reserved, if the record says (`holding`) that
// there may be one. Returns whether it said so. Throws kMetadataSnapshotHeld if it is not certain
// who reserved it. The pool is always the recorded one; kUnfitPool if that is not active.
bool reclaim_metadata_snapshot(RecordedChanges& recorded);
// The same for the active pool of siblings. A metadata snapshot that nobody can tell from another
// program's is left alone, and only the record of it is dropped.
bool reclaim_sibling_snapshot(RecordedChanges& recorded);
// As the first, for a merge that is given up: an inactive pool is only a warning.
bool give_up_metadata_snapshot(RecordedChanges& recorded);

}  // namespace extmerge
