// SPDX-License-Identifier: GPL-3.0-or-later
//
// The undo log as it lies on disk, version 1; docs/journal-format.md explains it.
//
//   header, record, record, ...
//
// Everything carries the journal's nonce, and each record the checksum of the
// one before, so that records of another log, or of another end of this one, are
// not taken for the next. Each begins in a page of its own: appending never
// writes to a sector that was synced, which a power cut might tear.

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
// Of one record, so that a reader needs no more memory than that.
inline constexpr uint64_t kMostSavedBytes = 4 << 20;
inline constexpr uint32_t kMostSavedRanges = kMostSavedBytes / 512;

// Zeroes up to the checksum at its end.
struct DiskUndoHeader {
  char magic[8];
  le32 version;
  le32 reserved;
  le64 nonce;
  le64 owner;  // whose: XXH3 of the origin's identity
};
static_assert(sizeof(DiskUndoHeader) == 32);

// Followed by the ranges, a checksum of all that, the old bytes, and zeroes up to
// the next page.
struct DiskUndoRecord {
  char magic[8];
  le64 nonce;
  le64 sequence;     // 0 for the first
  le64 position;     // of the plan, after the last byte that this belongs to
  le64 saved_bytes;  // that follow
  le64 durable;      // how much of the log was synced when this was appended
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
