// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/other_pool.h"

#include "merge/state.h"

namespace extmerge {

OtherPool::OtherPool(Custody& custody, const std::string& name)
    : hold_(custody, name),
      metadata_(custody.open(hold_.devices.metadata, OpenMode::kReadOnly, Bytes(4096))),
      reader_(*metadata_),
      superblock_(reader_.held_superblock(reader_.live_superblock().held_root)),
      devices_(read_devices(reader_, superblock_)),
      end_of_data_(hold_.devices.data.size.value() / superblock_.data_block_size.bytes().value()) {}

void OtherPool::check_still_held() { extmerge::check_still_held(reader_, superblock_); }

}  // namespace extmerge
