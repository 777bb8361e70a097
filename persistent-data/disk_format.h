// SPDX-License-Identifier: GPL-3.0-or-later
//
// The format of dm-thin's metadata on disk; docs/metadata-format.md explains it. Source:
// drivers/md/dm-thin-metadata.c and drivers/md/persistent-data in the Linux kernel, checked against
// images that a kernel wrote.

#pragma once

#include <cstddef>
#include <cstdint>

#include "io/endian.h"
#include "io/units.h"

namespace extmerge {

inline constexpr size_t kMetadataBlockSize = 4096;
inline constexpr uint64_t kSuperblockMagic = 27022010;
inline constexpr uint32_t kSuperblockSalt = 160774;
inline constexpr uint32_t kNodeSalt = 121107;
inline constexpr uint32_t kThinVersion = 2;
inline constexpr uint32_t kFlagNeedsCheck = 1;  // of the superblock
inline constexpr uint32_t kFlagInternal = 1;    // of a node
inline constexpr uint32_t kFlagLeaf = 2;

// 255 index entries of (16384 - 64) blocks each: the kernel's own limit.
inline constexpr uint64_t kMaxMetadataBlocks = 255ull * (16384 - 64);

struct DiskSpaceMapRoot {
  le64 nr_blocks;
  le64 nr_allocated;
  le64 bitmap_root;
  le64 ref_count_root;
  unsigned char unused[96];
};
static_assert(sizeof(DiskSpaceMapRoot) == 128);

struct DiskSuperblock {
  le32 csum;
  le32 flags;
  le64 blocknr;
  unsigned char uuid[16];  // the kernel writes zeroes
  le64 magic;
  le32 version;
  le32 time;
  le64 trans_id;
  le64 held_root;                        // the metadata snapshot's superblock, 0 if there is none
  DiskSpaceMapRoot data_space_map_root;  // all zero in a held superblock
  DiskSpaceMapRoot metadata_space_map_root;  // all zero in a held superblock
  le64 data_mapping_root;
  le64 device_details_root;
  le32 data_block_size;      // sectors
  le32 metadata_block_size;  // sectors, 8
  le64 metadata_nr_blocks;
  le32 compat_flags;
  le32 compat_ro_flags;
  le32 incompat_flags;
};
static_assert(sizeof(DiskSuperblock) == 364);
static_assert(offsetof(DiskSuperblock, held_root) == 56);
static_assert(offsetof(DiskSuperblock, data_mapping_root) == 320);
static_assert(offsetof(DiskSuperblock, incompat_flags) == 360);

// Followed by keys[max_entries] of 8 bytes and values[max_entries] of value_size.
struct DiskNodeHeader {
  le32 csum;
  le32 flags;
  le64 blocknr;
  le32 nr_entries;
  le32 max_entries;
  le32 value_size;
  le32 padding;
};
static_assert(sizeof(DiskNodeHeader) == 32);

// The number of entries for which a kernel's node has room: rounded down to thirds, because the
// kernel splits and merges nodes by thirds.
constexpr uint32_t max_entries_of(uint32_t value_size) {
  const size_t fitting =
      (kMetadataBlockSize - sizeof(DiskNodeHeader)) / (sizeof(le64) + value_size);
  return static_cast<uint32_t>(fitting / 3 * 3);
}
static_assert(max_entries_of(8) == 252 && max_entries_of(24) == 126);

struct DiskDeviceDetails {
  le64 mapped_blocks;
  le64 transaction_id;
  le32 creation_time;
  le32 snapshotted_time;
};
static_assert(sizeof(DiskDeviceDetails) == 24);

// A leaf value of a device's mapping tree: the data block in the upper 40 bits,
// the time of the mapping in the lower 24.
constexpr DataBlock unpack_data_block(uint64_t block_time) { return DataBlock(block_time >> 24); }
constexpr uint32_t unpack_time(uint64_t block_time) {
  return static_cast<uint32_t>(block_time & 0xffffff);
}

}  // namespace extmerge
