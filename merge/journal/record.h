// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal's record of one merge: devices, state of the thin, plan and progress.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

// A thin, told from others that had its id before.
struct ThinIdentity {
  ThinId id{};
  uint32_t creation_time = 0;   // the pool's time then
  uint64_t transaction_id = 0;  // the pool's then
  friend bool operator==(const ThinIdentity&, const ThinIdentity&) = default;
};

// How much of the merged state was compared with the origin afterwards.
enum class Verified : uint32_t { kNothing = 0, kSample = 1, kEverything = 2 };

// An earlier state of the same thin that the origin holds already.
struct Base {
  uint32_t time = 0;  // what was written since has mappings of this pool time, or later
  Bytes end;          // the origin holds the state up to here
  Verified verified = Verified::kNothing;
  uint64_t nonce = 0;       // of the journal of that merge
  uint64_t created_at = 0;  // when that merge began, seconds since the epoch
  friend bool operator==(const Base&, const Base&) = default;
};

// A copy: the plan's bytes go to another device than the external origin, and that is only read.
struct CopyFacts {
  bool whole = false;    // all that the thin shows, not only what it maps
  JournalDevice origin;  // the external origin
  Bytes origin_size;     // and its size when the copy was planned
  // Another number shows that the origin was merged into, or written to, since (Job::Copy).
  uint64_t origin_state = 0;
};

// The description of one merge, or of one copy: everything that a resume needs, and everything that
// must not change.
struct MergeRecord {
  JournalDevice metadata;
  JournalDevice data;
  JournalDevice origin;           // the destination: the origin, or the target of a copy
  std::optional<CopyFacts> copy;  // nothing for a merge
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

  // The thin that the merged one is a freeze of, if that is known.
  std::optional<ThinIdentity> frozen_from;
  uint32_t newest_time = 0;       // of the mappings of the merged thin
  PlanDigest state_digest;        // of a plan with everything; a round's plan is a part of it
  std::optional<Base> base;       // of a round
  std::vector<Bytes> old_places;  // of earlier rounds; the origin's fingerprint has them, too

  bool is_copy() const { return copy.has_value(); }
  // For messages.
  std::string deed() const { return copy ? "copy" : "merge"; }
  std::string done() const { return copy ? "copied" : "merged"; }
  std::string role() const { return copy ? "target" : "origin"; }  // of the destination
  bool is_round() const { return base.has_value(); }
  PlanLimits limits() const {
    PlanLimits limits{block_size, plan_end, thin_size};
    if (base) {
      limits.since = base->time;
      limits.held_end = base->end;
    }
    return limits;
  }
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
