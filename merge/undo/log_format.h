// SPDX-License-Identifier: GPL-3.0-or-later
//
// The undo log as it lies on disk, version 1; docs/journal-format.md explains it.
//
//   header, record, record, ...
//
// Header and records carry the journal's nonce, and each record has the checksum of the one before.
// So a record of another log, or of another end of this log, is not taken for the next. Each record
// begins in a page of its own. So appending never writes to a synced sector, which a power cut
// might tear.

#pragma once

#include <cstddef>
#include <cstdint>

#include "io/endian.h"

namespace extmerge {

inline constexpr char kUndoMagic[8] = {'e', 'x', 'm', '-', 'u', 'n', 'd', 'o'};
inline constexpr char kSavedMagic[8] = {'e', 'x', 'm', '-', 's', 'a', 'v', 'e'};
inline constexpr uint32_t kUndoFormatVersion = 1;

inline constexpr size_t kUndoHeaderSize = 4096;
inline constexpr uint64_t kUndoRecordAlignment = 4096;
// limits of one record, which also limit a reader's memory
inline constexpr uint64_t kMostSavedBytes = 4 << 20;
inline constexpr uint32_t kMostSavedRanges = kMostSavedBytes / 512;

// Followed by zeroes up to the checksum at the header's end.
struct DiskUndoHeader {
  char magic[8];
  le32 version;
  le32 reserved;
  le64 nonce;
  le64 owner;  // XXH3 of the origin's identity
};
static_assert(sizeof(DiskUndoHeader) == 32);

// Followed by the ranges, a checksum of header and ranges, the old bytes, and zeroes up to the next
// page.
struct DiskUndoRecord {
  char magic[8];
  le64 nonce;
  le64 sequence;     // 0 for the first
  le64 position;     // of the plan, after the last byte of this record
  le64 saved_bytes;  // that follow the ranges
  le64 durable;      // the log's synced size when this record was appended
  le32 ranges;
  le32 previous;  // checksum of the record before, of the header for the first
  le32 saved_checksum;
  le32 reserved;
};
static_assert(sizeof(DiskUndoRecord) == 64);
static_assert(offsetof(DiskUndoRecord, saved_bytes) == 32);
static_assert(offsetof(DiskUndoRecord, saved_checksum) == 56);

inline constexpr uint32_t kRangeIsZero = 1;

struct DiskSavedRange {
  le64 offset;  // on the origin
  le32 length;
  le32 flags;
  unsigned char digest[16];
};
static_assert(sizeof(DiskSavedRange) == 32);

}  // namespace extmerge
