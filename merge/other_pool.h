// SPDX-License-Identifier: GPL-3.0-or-later
//
// The thins of another pool, from a metadata snapshot that exists as long as this object.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "merge/custody.h"
#include "persistent-data/devices.h"
#include "persistent-data/metadata_reader.h"

namespace extmerge {

class OtherPool {
 public:
  // Throws as Custody::reserve_pool() and open() do, kNoMetadataSnapshot, kMetadataDamaged.
  OtherPool(Custody& custody, const std::string& name);

  MetadataReader& reader() { return reader_; }
  // Null if there is none.
  const ThinDevice* device_of(ThinId id) const { return extmerge::device_of(devices_, id); }
  DataBlockSize block_size() const { return superblock_.data_block_size; }
  DataBlock end_of_data() const { return end_of_data_; }
  // Throws kMetadataSnapshotGone if another program has released the metadata snapshot.
  void check_still_held();

 private:
  struct Hold {
    Hold(Custody& its, const std::string& name) : custody(its), devices(its.reserve_pool(name)) {}
    ~Hold() { custody.release_pool(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    Custody& custody;
    const PoolDevices devices;
  };

  const Hold hold_;
  const std::shared_ptr<BlockDevice> metadata_;
  MetadataReader reader_;
  const Superblock superblock_;
  const std::vector<ThinDevice> devices_;
  const DataBlock end_of_data_;
};

}  // namespace extmerge
