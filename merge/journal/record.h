// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal's record of one merge: devices, state of the thin, plan and progress.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "merge/plan/runs.h"

namespace extmerge {

enum class JournalState : uint32_t {
  kIntent = 1,
  kCopying = 2,
  kDone = 3,
  kUndoing = 4,
  kUndone = 5
};

// Whether a merge or an undo is unfinished.
constexpr bool is_under_way(JournalState state) {
  return state == JournalState::kCopying || state == JournalState::kUndoing;
}

// The root of the mappings, so that a resume reads the same one.
enum class RootChoice : uint32_t { kHeld = 1, kBlock = 2, kLive = 3 };

enum class BeyondOriginChoice : uint32_t { kRefuse = 1, kDrop = 2, kExtend = 3 };

struct JournalDevice {
  std::string path;      // absolute, from when the merge began; a resume looks there first
  std::string identity;  // DeviceFacts::identity, which must not change
};

// The description of one merge: everything that a resume needs, and everything that must not
// change.
struct MergeRecord {
  JournalDevice metadata;
  JournalDevice data;
  JournalDevice origin;
  ThinId thin_id{};
  uint32_t creation_time = 0;   // of the thin, from its details
  uint64_t transaction_id = 0;  // of the thin, at its creation
  // From the superblock: pool time and transaction id tell an old thin from a later one.
  uint32_t pool_time = 0;
  uint64_t pool_transaction_id = 0;
  RootChoice root_choice = RootChoice::kHeld;
  MetadataBlock root_block;    // kBlock: the superblock copy to read
  MetadataBlock mapping_root;  // the thin's
  DataBlockSize block_size;
  Bytes logical_block_size;  // of the origin
  std::optional<Bytes> thin_size;
  BeyondOriginChoice beyond_origin = BeyondOriginChoice::kRefuse;
  Bytes origin_size_before;
  Bytes origin_size_after;  // differs after an extension
  Bytes plan_end;
  uint64_t mapped_blocks = 0;
  uint64_t runs = 0;
  Bytes copy_bytes;
  PlanDigest digest;
  uint64_t created_at = 0;  // seconds since the epoch; for people only
  std::string undo_log;     // its absolute path; empty if there is none

  PlanLimits limits() const { return {block_size, plan_end, thin_size}; }
};

struct CopyCounters {
  Bytes bytes_read;            // from the data device
  Bytes bytes_compared_equal;  // not written because the origin held them already
  Bytes bytes_written;         // to the origin
};

struct JournalProgress {
  Bytes position;  // every planned byte below it is durable
  CopyCounters counters;
  // The durable size of the undo log. It has the old bytes of everything overwritten below the
  // position.
  Bytes undo_log_bytes{};
  // The offset in the undo log below which every record is put back, durably.
  Bytes undone_bytes{};
};

}  // namespace extmerge
