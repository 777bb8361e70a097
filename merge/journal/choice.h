// SPDX-License-Identifier: GPL-3.0-or-later
//
// What to do about the journal that is already there: begin anew, go on with
// it, or refuse. A pure function of what the journal records and what is wanted
// now, since getting this wrong merges old data over new.
//
//   none                                     new
//   of another origin                        refuse
//   unfinished, same source, same plan       go on; without an undo log also if a repair has moved
//                                            the tree's nodes
//   unfinished, otherwise                    refuse (half merged; stale); --restart: new
//   done, same plan                          refuse (done already);       --again: new
//   done, another plan (written since)       new, if the origin is as the merge left it; --again:
//   new
//   unfinished, with an undo log             --restart: refuse (undo it first)
//   being undone                             refuse
//   undone                                   new

#pragma once

#include <functional>

#include "merge/journal/journal.h"

namespace extmerge {

struct JournalWishes {
  bool must_resume = false;  // `resume`
  bool restart = false;
  bool again = false;
  bool allow_stale = false;
  std::optional<ThinId> merged_as{};      // Job's
  bool last_round = false;                // MergeOptions'
  std::optional<std::string> undo_log{};  // where to save what is overwritten
  bool undo_log_exists = false;           // that of the journal
};

// Times, transactions and blocks of two pools cannot be compared.
bool same_pool(const MergeRecord& a, const MergeRecord& b);

// Whether `wanted` is another round of what `done` records: the same device, or one that is
// known to have been frozen in it (`merged_as`).
bool is_same_source(const MergeRecord& done, const MergeRecord& wanted,
                    std::optional<ThinId> merged_as);

// Whether the thin of `wanted` was made when the mappings for `done` had been read already.
// False where that cannot be told: a pool whose user sets no transactions, and no snapshot
// was taken since.
bool is_later(const MergeRecord& wanted, const MergeRecord& done);

struct JournalDecision {
  bool go_on = false;
  Refusal refusal;
  // Refused as done already, and certain: nothing was written to the thin since its frozen copy
  // was merged. Filled in by the merger.
  bool nothing_new = false;
};

// `origin_unchanged` says whether the origin still has the fingerprint that the
// finished journal recorded; it is asked only where that matters.
JournalDecision decide(const Journal* journal, const MergeRecord& wanted,
                       const JournalWishes& wishes, const std::function<bool()>& origin_unchanged);

}  // namespace extmerge
