// SPDX-License-Identifier: GPL-3.0-or-later
//
// The state to merge, from the pool metadata. The superblock is the held one, a given block, or the
// live one. State finds the thin in it, and asks the live tree whether the thin has changed since.

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "merge/job.h"
#include "persistent-data/devices.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

// Throws kMetadataSnapshotGone if the metadata snapshot with that superblock was released, and
// perhaps reserved again, since it was read. Then the metadata read in between may be a mixture.
void check_still_held(MetadataReader& reader, const Superblock& superblock);

class State {
 public:
  // Opens metadata and data device. Throws kNoMetadataSnapshot, kThinIdAbsent, kDataDeviceTooSmall,
  // kMetadataDamaged, and as Custody::open() does.
  explicit State(const Job& job);

  MetadataReader& reader() { return reader_; }
  // The device that has the bytes of a plan.
  BlockDevice& data() { return *data_; }
  const Superblock& superblock() const { return superblock_; }
  const ThinDevice& device() const { return device_; }
  const std::vector<ThinDevice>& devices() const { return devices_; }
  // The device with that id among devices(); null if there is none.
  const ThinDevice* device_of(ThinId id) const { return extmerge::device_of(devices_, id); }
  DataBlock end_of_data() const { return end_of_data_; }

  // From the live superblock; false if it cannot be read.
  bool needs_check() const { return live_ && live_->needs_check; }

  // Whether the live tree still has the device with the mappings `root`. kUnknown: the live tree is
  // damaged. kBusy: the pool committed at every look, for about a second.
  enum class Freshness { kSame, kChanged, kUnknown, kBusy };
  Freshness compare_with_live(MetadataBlock root);

  // kMetadataBusy, the Error for kBusy.
  Error busy() const;

  // The same for this state, if it is from a metadata snapshot.
  void check_still_held();

 private:
  Superblock choose_superblock(const Job& job);

  RootChoice root_choice_;
  std::shared_ptr<BlockDevice> metadata_;
  std::shared_ptr<BlockDevice> data_;
  MetadataReader reader_;
  std::optional<Superblock> live_;  // at the beginning; nothing if it cannot be read
  Superblock superblock_;
  std::vector<ThinDevice> devices_;
  ThinDevice device_;
  DataBlock end_of_data_;
};

}  // namespace extmerge
