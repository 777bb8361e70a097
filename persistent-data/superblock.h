// SPDX-License-Identifier: GPL-3.0-or-later
//
// The superblock: live (block 0), or held (the copy of a metadata snapshot). A held copy knows its
// own location, has no held root, and its space map roots are wiped. So this code reads no size
// from them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "persistent-data/disk_format.h"

namespace extmerge {

struct Superblock {
  MetadataBlock location;
  bool needs_check = false;
  uint32_t time = 0;
  uint64_t transaction_id = 0;
  MetadataBlock held_root;  // 0: no metadata snapshot is held
  MetadataBlock data_mapping_root;
  MetadataBlock device_details_root;
  DataBlockSize data_block_size;
  uint64_t nr_data_blocks = 0;  // of the data device; 0 (wiped) in a held superblock
};

// Checks magic, checksum, own location, version and incompatible features (both
// kUnsupportedMetadata), metadata and data block size. The roots must be inside `metadata_blocks`
// and not block 0. A held copy (any location but block 0) must have no held root. Throws
// Error(kMetadataDamaged); `device` is named in messages.
Superblock check_superblock(std::span<const std::byte> block, MetadataBlock location,
                            uint64_t metadata_blocks, std::string_view device = {});

// The correct checksum for a superblock's other bytes.
uint32_t superblock_checksum(std::span<const std::byte> block);

// False if only the checksum or the location is wrong. A read during a commit looks like that, so a
// retry may succeed.
bool superblock_is_whole(std::span<const std::byte> block, MetadataBlock location);

}  // namespace extmerge
