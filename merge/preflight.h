// SPDX-License-Identifier: GPL-3.0-or-later
//
// Every refusal, each a small function of facts with an id of its own. All run before anything is
// written, in two groups. The first group uses only device facts, before any metadata is read. The
// second group uses the plan. A whole group runs, so that the administrator sees every obstacle at
// once. The first refusal decides the exit status.

#pragma once

#include <string>
#include <vector>

#include "io/error.h"
#include "merge/job.h"
#include "merge/plan/siblings.h"

namespace extmerge {

struct Overrides {
  bool allow_stale = false;
  bool allow_shared_origin = false;
  bool keep_siblings = false;           // a harmed sibling gets its own copies first
  bool allow_removed_snapshot = false;  // undo
  bool allow_container = false;
};

// --- what the devices tell -------------------------------------------------

// These are about the origin, or the target of a copy. `role` is the word for it.
Refusal check_writable(const DeviceFacts& device, const std::string& role);
Refusal check_not_mounted(const DeviceFacts& device, const std::string& role);
Refusal check_not_swap(const DeviceFacts& device, const std::string& role);

// The thins of this pool under `place`.
std::vector<ThinBelow> thins_of_pool(const Job& job, const JournalPlace& place);

// verify only reads: it skips the refusals about writing and use.
enum class Purpose { kMerge, kVerify };
std::vector<Error> refuse_devices(const Job& job, BeyondOriginChoice beyond, Purpose purpose);
// For an undo: the pool may be gone.
std::vector<Error> refuse_origin(const Job& job);

// --- what the plan tells ---------------------------------------------------

// Facts from the pool metadata.
struct PlanFacts {
  bool needs_check = false;
  bool device_changed = false;        // the live tree has another root for it
  bool live_tree_unreadable = false;  // unknown whether it has changed
  bool beyond_origin_has_data = false;
  PlanSummary summary;
  std::vector<Sibling> siblings;
};

// A certain sibling must not be harmed.
Refusal check_siblings(const PlanFacts& facts, const Overrides& overrides);
// Every holder of the origin must be the source itself or a sibling that the merge does not harm.
Refusal check_holders(const PlanFacts& facts, const Job& job, const Overrides& overrides);

std::vector<Error> refuse_plan(const PlanFacts& facts, const Job& job, BeyondOriginChoice beyond,
                               const Overrides& overrides, Purpose purpose);

// Throws the first refusal, which decides the exit status. Its text lists the others.
void refuse_any(const std::vector<Error>& refusals);

// Notes for the administrator that are no reasons to refuse.
std::vector<std::string> notes_for(const PlanFacts& facts, const Job& job,
                                   BeyondOriginChoice beyond, const Overrides& overrides);

// The mode to claim the origin, if nothing is refused: exclusively, or only by its lock if thins
// hold it.
OpenMode claim_mode(const Job& job);

}  // namespace extmerge
