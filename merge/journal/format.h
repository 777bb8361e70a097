// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal as it lies on disk, versions 2 and 3; docs/journal-format.md explains it, and version
// 1. A merge is recorded in version 2, a copy in version 3.
//
//   header copy, header copy, 8 progress slots, page of places, plan pages
//
// Each of these parts ends in the CRC-32C of all its bytes before, and carries the journal's random
// nonce. So no part of another journal counts as one of this, even if the disk blocks held that
// journal before.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/checksum.h"
#include "io/endian.h"

namespace extmerge {

inline constexpr char kHeaderMagic[8] = {'e', 'x', 'm', '-', 'j', 'r', 'n', 'l'};
inline constexpr char kSlotMagic[8] = {'e', 'x', 'm', '-', 'p', 'r', 'o', 'g'};
inline constexpr uint32_t kMergeFormatVersion = 2;
inline constexpr uint32_t kCopyFormatVersion = 3;
inline constexpr uint32_t kNewestFormatVersion = kCopyFormatVersion;

inline constexpr size_t kHeaderSize = 16384;
inline constexpr size_t kHeaderCopies = 2;
inline constexpr size_t kSlotSize = 512;
inline constexpr size_t kSlotDistance = 4096;  // no file-system block holds two slots
inline constexpr size_t kSlots = 8;
inline constexpr size_t kSlotsOffset = kHeaderSize * kHeaderCopies;
inline constexpr size_t kPlanPageSize = 4096;
inline constexpr size_t kPlacesOffset = kSlotsOffset + kSlots * kSlotDistance;
inline constexpr size_t kPlanOffset = kPlacesOffset + kPlanPageSize;
static_assert(kPlanOffset == 69632);
// Version 1 has no page of places.
constexpr size_t plan_offset(uint32_t version) {
  return version == 1 ? kPlacesOffset : kPlanOffset;
}

inline constexpr size_t kChecksumSize = 4;

inline constexpr size_t kMaxPath = 4095;     // PATH_MAX without the final zero
inline constexpr size_t kMaxIdentity = 255;  // of a device
inline constexpr size_t kMaxUndoLogPath = 3000;
inline constexpr size_t kMaxUndoLogPathRead = 3072;  // in version 1

// Followed by seven strings, each a le16 length and its bytes: path and identity
// of metadata, data and origin, path of the undo log (empty: none); then zeroes up to
// the checksum.
struct DiskJournalHeader {
  char magic[8];
  le32 version;
  le32 state;
  le64 sequence;
  le64 nonce;
  le32 thin_id;
  le32 creation_time;
  le64 transaction_id;
  le32 root_choice;
  le32 beyond_origin;
  le64 root_block;
  le64 mapping_root;
  le64 block_size;  // all sizes in bytes
  le64 logical_block_size;
  le64 thin_size;
  le32 thin_size_known;  // 0 or 1
  le32 pool_time;
  le64 origin_size_before;
  le64 origin_size_after;
  le64 plan_end;
  le64 mapped_blocks;
  le64 runs;
  le64 copy_bytes;
  unsigned char digest[16];
  le64 created_at;
  le64 plan_pages;
  le64 fingerprint;
  le64 pool_transaction_id;
  le64 undo_log_bytes;
};
static_assert(sizeof(DiskJournalHeader) == 208);
static_assert(offsetof(DiskJournalHeader, sequence) == 16);
static_assert(offsetof(DiskJournalHeader, thin_id) == 32);
static_assert(offsetof(DiskJournalHeader, root_choice) == 48);
static_assert(offsetof(DiskJournalHeader, block_size) == 72);
static_assert(offsetof(DiskJournalHeader, thin_size_known) == 96);
static_assert(offsetof(DiskJournalHeader, plan_end) == 120);
static_assert(offsetof(DiskJournalHeader, digest) == 152);
static_assert(offsetof(DiskJournalHeader, fingerprint) == 184);

// Follows in version 2: the thin that was frozen, and what the origin held already.
struct DiskRound {
  le32 frozen_from_known;  // 0 or 1
  le32 frozen_from_id;
  le32 frozen_from_creation_time;
  le32 newest_time;
  le64 frozen_from_transaction_id;
  le32 verified;
  le32 base_known;  // 0 or 1
  le32 base_time;
  le32 base_verified;
  le64 base_end;
  le64 base_nonce;
  le64 base_created_at;
  unsigned char state_digest[16];
};
static_assert(sizeof(DiskRound) == 80);
static_assert(sizeof(DiskJournalHeader) + sizeof(DiskRound) +
                  3 * (2 + kMaxPath + 2 + kMaxIdentity) + 2 + kMaxUndoLogPath + kChecksumSize <=
              kHeaderSize);

// Follows in version 3: the copy. Then come nine strings: path and identity of the external origin,
// and the seven above, of which the third device is the target.
struct DiskCopy {
  le32 whole;  // 0 or 1
  le32 unused;
  le64 origin_size;   // of the external origin
  le64 origin_state;  // changes when that is merged into, or written to
};
static_assert(sizeof(DiskCopy) == 24);
inline constexpr size_t kMaxPathOfCopy = 2400;
static_assert(sizeof(DiskJournalHeader) + sizeof(DiskRound) + sizeof(DiskCopy) +
                  4 * (2 + kMaxPathOfCopy + 2 + kMaxIdentity) + 2 + kMaxUndoLogPath +
                  kChecksumSize <=
              kHeaderSize);

struct DiskProgressSlot {
  char magic[8];
  le64 nonce;
  le64 sequence;
  le64 position;
  le64 bytes_read;
  le64 bytes_compared_equal;
  le64 bytes_written;
  le64 undo_log_bytes;
  le64 undone_bytes;
};
static_assert(sizeof(DiskProgressSlot) == 72);
static_assert(offsetof(DiskProgressSlot, position) == 24);

// Followed by the places, le64 each, in rising order; then zeroes up to the checksum.
struct DiskPlacesPage {
  le64 nonce;
  le64 count;
};
inline constexpr size_t kMostPlaces = 448;
static_assert(sizeof(DiskPlacesPage) + kMostPlaces * sizeof(le64) + kChecksumSize <= kPlanPageSize);

// Version 1 has runs of pool data only, and no tag. Version 2 has a tag, which says so.
inline constexpr unsigned kRunContentBits = 2;

// Followed by the runs; then zeroes up to the checksum.
struct DiskPlanPage {
  le64 nonce;
  le64 index;
  le64 position;
  le32 run_count;
};
static_assert(sizeof(DiskPlanPage) == 28);
static_assert(offsetof(DiskPlanPage, run_count) == 24);

// The CRC-32C of RFC 3720, with its final inversion.
inline uint32_t checksum_of(std::span<const std::byte> bytes) { return ~crc32c(bytes); }
inline uint32_t checksum_at_end(std::span<const std::byte> part) {
  return load<le32>(part.last(kChecksumSize).data()).get();
}
inline void seal_part(std::span<std::byte> part) {
  const le32 checksum(checksum_of(part.first(part.size() - kChecksumSize)));
  std::memcpy(part.last(kChecksumSize).data(), &checksum, kChecksumSize);
}
inline bool part_is_intact(std::span<const std::byte> part) {
  return checksum_at_end(part) == checksum_of(part.first(part.size() - kChecksumSize));
}

}  // namespace extmerge
