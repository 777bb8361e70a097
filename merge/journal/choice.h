// SPDX-License-Identifier: GPL-3.0-or-later
//
// Decides about an existing journal: begin a new one, resume, or refuse. decide() is a pure
// function of the journal's record and the wanted merge: a wrong decision merges old data over new.
//
//   none                                     new
//   of another origin                        refuse
//   unfinished, same source, same plan       resume; without an undo log also if a repair has moved
//                                            the tree's nodes
//   unfinished round, with --full            refuse
//   unfinished, otherwise                    refuse (half merged; stale); --restart: new
//   done, same plan, or an empty round       refuse (done already);       --again: as below
//   done, another plan (written since)       new, if the origin is as the merge left it;
//                                            --again: new, but a copy of what is mapped only
//                                            if the target is as that copy left it
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
  std::optional<ThinId> merged_as{};      // see Job
  bool last_round = false;                // see MergeOptions
  std::optional<std::string> undo_log{};  // where to save overwritten bytes
  bool undo_log_exists = false;           // of the journal
  bool full = false;                      // --full
};

// Whether both are of one pool: times, transactions and blocks of two pools cannot be compared.
bool same_pool(const MergeRecord& a, const MergeRecord& b);

// Whether `wanted` is another round of the merge in `done`: the same thin, or `done` merged its
// freeze (`merged_as`).
bool is_same_source(const MergeRecord& done, const MergeRecord& wanted,
                    std::optional<ThinId> merged_as);

// Whether the thin of `wanted` was made after the mappings for `done` were read. False if unknown:
// no snapshot was taken since, and the pool's user sets no transactions.
bool is_later(const MergeRecord& wanted, const MergeRecord& done);

struct JournalDecision {
  bool go_on = false;
  Refusal refusal;
  // Refused as done already, and certain: nothing was written to the thin since its freeze was
  // merged. The merger fills this in.
  bool nothing_new = false;
};

// `origin_unchanged` says whether the origin still has the finished journal's fingerprint. decide()
// calls it only if needed.
JournalDecision decide(const Journal* journal, const MergeRecord& wanted,
                       const JournalWishes& wishes, const std::function<bool()>& origin_unchanged);

}  // namespace extmerge
