// SPDX-License-Identifier: GPL-3.0-or-later
//
// The merged state as the pool has it: the metadata device opened, the
// superblock chosen (held, a given block, or live), the thin found in it, and
// the live tree asked whether that thin has changed since.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "merge/job.h"
#include "persistent-data/devices.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

class State {
 public:
  // Opens metadata and data device. Throws kNoMetadataSnapshot, kThinIdAbsent,
  // kDataDeviceTooSmall,
  // kMetadataDamaged and whatever opening throws.
  explicit State(const Job& job);

  MetadataReader& reader() { return reader_; }
  BlockDevice& data() { return *data_; }
  const Superblock& superblock() const { return superblock_; }
  const ThinDevice& device() const { return device_; }
  const std::vector<ThinDevice>& devices() const { return devices_; }
  // Of devices(); null if there is none of that id.
  const ThinDevice* device_of(ThinId id) const;
  DataBlock end_of_data() const { return end_of_data_; }

  // As the live superblock says; false if it cannot be read.
  bool needs_check() const { return needs_check_; }

  // Whether the live tree still has the device with the mappings `root`. kUnknown: it is
  // damaged. kBusy: the pool committed at every look, for about a second.
  enum class Freshness { kSame, kChanged, kUnknown, kBusy };
  Freshness compare_with_live(MetadataBlock root);

  // kMetadataBusy: what to say of kBusy.
  Error busy() const;

  // Throws kMetadataSnapshotGone if the metadata snapshot was released, and
  // perhaps reserved anew, since it was opened: what was read in between may be
  // a mixture.
  void check_still_held();

 private:
  Superblock choose_superblock(const Job& job);

  RootChoice root_choice_;
  std::shared_ptr<BlockDevice> metadata_;
  std::shared_ptr<BlockDevice> data_;
  MetadataReader reader_;
  bool needs_check_ = false;
  uint64_t nr_data_blocks_ = 0;  // as the live superblock says, 0 if it cannot be read
  Superblock superblock_;
  std::vector<ThinDevice> devices_;
  ThinDevice device_;
  DataBlock end_of_data_;
};

}  // namespace extmerge
