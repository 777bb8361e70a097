// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/journal/choice.h"

#include "io/identity.h"
#include "io/text.h"

namespace extmerge {

namespace {

// A pool reuses an id after a deletion. Id and creation together identify a thin.
bool same_device(const MergeRecord& a, const MergeRecord& b) {
  return a.thin_id == b.thin_id && a.creation_time == b.creation_time &&
         a.transaction_id == b.transaction_id;
}

bool same_plan(const MergeRecord& a, const MergeRecord& b) {
  return a.digest == b.digest && a.state_digest == b.state_digest;
}

// Whether both are of one state of a thin. One may be a round's.
bool same_state(const MergeRecord& a, const MergeRecord& b) {
  return a.state_digest == b.state_digest && a.mapping_root == b.mapping_root;
}

// A repair moves the tree's nodes. Another root may have the same plan by chance; then an undo log
// may hold bytes of other contents.
bool may_go_on_with(const MergeRecord& begun, const MergeRecord& wanted) {
  return same_plan(begun, wanted) &&
         (begun.mapping_root == wanted.mapping_root || begun.undo_log.empty());
}

std::string thin_text(const MergeRecord& record) {
  return thin_id_text(record.thin_id) + " of " + record.metadata.path;
}

JournalDecision refuse(MessageId id, const std::string& happened, const std::string& next) {
  return {false, Error(id, happened, next)};
}

// Whether the target has what the wanted copy would bring, if the thin is the same.
bool is_same_copy(const MergeRecord& done, const MergeRecord& wanted) {
  return done.copy->whole >= wanted.copy->whole && done.plan_end == wanted.plan_end &&
         is_same_identity(done.copy->origin.identity, wanted.copy->origin.identity) &&
         done.copy->origin_state == wanted.copy->origin_state;
}

// Refuses the journal of another destination, and that of a merge for a copy.
Refusal refuse_foreign(const Journal& journal, const MergeRecord& wanted) {
  const MergeRecord& record = journal.record();
  if (!is_same_identity(record.origin.identity, wanted.origin.identity)) {
    const bool was_replaced = record.origin.path == wanted.origin.path;
    return Error(
        MessageId::kForeignJournal,
        journal.path() + " is the journal of another " + record.role() + " (" + record.origin.path +
            (was_replaced ? ", which was another file or device)" : ")"),
        was_replaced
            ? "bring the former one back, or name another file with --journal: "
              "then everything is " +
                  std::string(record.is_copy() ? "copied" : "merged")
            : "name another file with --journal, or the " + record.role() + " it belongs to");
  }
  if (record.is_copy() != wanted.is_copy()) {
    return Error(
        MessageId::kForeignJournal,
        journal.path() + " is the journal of a " + record.deed() + ", not of a " + wanted.deed(),
        "name another file with --journal");
  }
  return {};
}

// Refuses unless the unfinished merge has the same pool, thin and origin.
Refusal refuse_other_devices(const Journal& journal, const MergeRecord& wanted,
                             const JournalWishes& wishes) {
  const MergeRecord& begun = journal.record();
  if (!same_pool(begun, wanted) || begun.thin_id != wanted.thin_id) {
    if (wishes.must_resume) {
      return Error(MessageId::kOtherSource,
                   "the devices named in " + journal.path() + " are not the ones the " +
                       begun.deed() + " began with",
                   "make " + begun.metadata.path + " and " + begun.data.path +
                       " the pool's own devices again");
    }
    return Error(MessageId::kHalfMerged,
                 "the " + begun.role() + " " + wanted.origin.path + " is half " + begun.done() +
                     " from " + thin_text(begun),
                 "finish that " + begun.deed() + " first (extmerge resume " + journal.path() +
                     "), or discard its journal with --restart");
  }
  if (!same_device(begun, wanted)) {
    return Error(MessageId::kThinIdReused,
                 thin_text(begun) + " is not the device the " + begun.deed() +
                     " began with: the id was used again",
                 "the half-" + begun.done() + " " + begun.role() +
                     " cannot be finished from it; --restart begins with the new device");
  }
  if (begun.is_copy()) {
    const bool is_same =
        is_same_identity(begun.copy->origin.identity, wanted.copy->origin.identity);
    if (!is_same || begun.copy->origin_state != wanted.copy->origin_state) {
      return Error(MessageId::kStale,
                   "the external origin " + wanted.copy->origin.path +
                       (is_same ? " was merged into, or written to, since the unfinished copy in "
                                : " is not that of the unfinished copy in ") +
                       journal.path() + " was begun",
                   "copy everything that the thin shows: extmerge copy --whole --restart");
    }
  }
  const Bytes size = wanted.origin_size_before;
  if (size != begun.origin_size_before && size != begun.origin_size_after) {
    return Error(MessageId::kSizeChanged,
                 "the " + begun.role() + " " + wanted.origin.path + " has " +
                     std::to_string(size.value()) + " bytes, the " + begun.deed() + " began with " +
                     std::to_string(begun.origin_size_before.value()),
                 "make sure it is the same " + begun.role() +
                     ", then restart from the beginning with --restart");
  }
  if (wanted.logical_block_size > begun.logical_block_size) {
    return Error(MessageId::kSizeChanged,
                 "the " + begun.role() + " " + wanted.origin.path + " now has logical blocks of " +
                     std::to_string(wanted.logical_block_size.value()) +
                     " bytes, more than when the " + begun.deed() + " began",
                 "attach it as it was, or restart from the beginning with --restart");
  }
  return {};
}

JournalDecision decide_unfinished(const Journal& journal, const MergeRecord& wanted,
                                  const JournalWishes& wishes) {
  const MergeRecord& begun = journal.record();
  if (wishes.restart) {
    if (begun.undo_log.empty() || !wishes.undo_log_exists) return {};
    return refuse(MessageId::kUndoFirst,
                  "the unfinished " + begun.deed() + " in " + journal.path() +
                      " has the undo log " + begun.undo_log + ", which would be lost",
                  "extmerge undo " + journal.path() + " puts the " + begun.role() +
                      " back; to restart from the beginning without undo, mount "
                      "the file system of the undo log and move the undo log away");
  }
  if (const Refusal refusal = refuse_other_devices(journal, wanted, wishes))
    return {false, *refusal};
  if (wishes.full && begun.is_round()) {
    return refuse(MessageId::kHalfMerged,
                  "the unfinished " + begun.deed() + " in " + journal.path() +
                      " is a round, not a full " + begun.deed(),
                  "finish it first (extmerge resume " + journal.path() +
                      "), or restart from the beginning with --restart, which does everything");
  }
  // Finish an old plan only if the user asked for that: `merge` has just shown the new one.
  if (!may_go_on_with(begun, wanted) && !(wishes.must_resume && wishes.allow_stale)) {
    const bool other_limits = begun.plan_end != wanted.plan_end ||
                              begun.block_size != wanted.block_size ||
                              (begun.is_copy() && begun.copy->whole != wanted.copy->whole);
    return refuse(
        MessageId::kStale,
        other_limits
            ? "the unfinished " + begun.deed() + " in " + journal.path() +
                  (begun.is_copy()
                       ? " copies other parts of the thin than this one (--thin-size, --whole)"
                       : " ends at another byte than this one (--thin-size, --beyond-origin)")
            : thin_text(begun) + " has changed since the unfinished " + begun.deed() + " in " +
                  journal.path() + " was planned",
        other_limits ? "use the same options, or extmerge resume " + journal.path() +
                           ", or restart from the beginning with --restart"
                     : "restart from the beginning with --restart, or finish the old "
                       "plan: extmerge resume --allow-stale " +
                           journal.path());
  }
  if (wishes.undo_log && *wishes.undo_log != begun.undo_log) {
    const std::string with =
        begun.undo_log.empty() ? "without an undo log" : "with the undo log " + begun.undo_log;
    return refuse(MessageId::kUndoLogInTheWay,
                  "the unfinished " + begun.deed() + " in " + journal.path() + " was begun " + with,
                  "leave out --undo-log, or restart from the beginning with --restart");
  }
  return {true, {}};
}

Error was_written_to(const MergeRecord& record, const std::string& path) {
  return Error(
      MessageId::kOriginChanged,
      "the " + record.role() + " " + path + " was written to since the last " +
          (record.is_copy() ? "copy to" : "merge into") + " it was done",
      record.is_copy()
          ? "find out who wrote to it, and compare the two (extmerge verify --whole); extmerge "
            "copy --whole --again puts all that the snapshot shows over the newer data, which is "
            "lost then"
          : "find out who wrote to it, and compare the two (extmerge verify); --again puts the "
            "snapshot's blocks over the newer data, which is lost then");
}

}  // namespace

bool same_pool(const MergeRecord& a, const MergeRecord& b) {
  return is_same_identity(a.metadata.identity, b.metadata.identity) &&
         is_same_identity(a.data.identity, b.data.identity);
}

bool is_same_source(const MergeRecord& done, const MergeRecord& wanted,
                    std::optional<ThinId> merged_as) {
  return same_pool(done, wanted) && (same_device(done, wanted) || done.thin_id == merged_as);
}

// The pool's time rises with each snapshot, its transaction id with each change by LVM.
bool is_later(const MergeRecord& wanted, const MergeRecord& done) {
  if (wanted.creation_time != done.pool_time) return wanted.creation_time > done.pool_time;
  return done.pool_transaction_id > 0 && wanted.transaction_id >= done.pool_transaction_id;
}

JournalDecision decide(const Journal* journal, const MergeRecord& wanted,
                       const JournalWishes& wishes, const std::function<bool()>& origin_unchanged) {
  if (!journal) {
    if (!wishes.must_resume) return {};
    return refuse(MessageId::kNoJournal, "there is no journal to resume",
                  "extmerge status lists the known journals; extmerge merge begins a merge");
  }
  const MergeRecord& record = journal->record();
  if (const Refusal refusal = refuse_foreign(*journal, wanted)) return {false, *refusal};
  if (journal->state() == JournalState::kCopying)
    return decide_unfinished(*journal, wanted, wishes);
  if (journal->state() == JournalState::kUndoing) {
    return refuse(MessageId::kUndoFirst,
                  "the " + record.deed() + " in " + journal->path() + " is being undone",
                  "finish the undo: extmerge undo " + journal->path());
  }
  if (journal->state() == JournalState::kUndone) {
    if (!wishes.must_resume) return {};
    return refuse(MessageId::kNothingToResume,
                  "the " + record.deed() + " in " + journal->path() + " was undone",
                  "extmerge " + record.deed() + " begins another one");
  }
  if (wishes.must_resume) {
    return refuse(MessageId::kNothingToResume,
                  "the " + record.deed() + " in " + journal->path() + " is done",
                  "nothing is left to do; extmerge verify compares the " + record.role() +
                      " with the snapshot");
  }
  // A copy of what is mapped does not mend the rest of a target that somebody has written to.
  const bool writes_all = !wanted.is_copy() || wanted.copy->whole;
  if (wishes.again && writes_all) return {};
  const bool is_merged = is_same_source(record, wanted, wishes.merged_as) &&
                         same_state(record, wanted) &&
                         !(wanted.is_copy() && !is_same_copy(record, wanted));
  const bool is_empty_round = wanted.is_round() && wanted.copy_bytes == Bytes(0);
  const auto already_done = [&] {
    return refuse(MessageId::kAlreadyDone,
                  thin_text(record) + " was " + record.done() +
                      (record.is_copy() ? " to " : " into ") + record.origin.path + " already (" +
                      journal->path() + ")",
                  "extmerge verify compares the two; --again " +
                      std::string(record.is_copy() ? "copies" : "merges") +
                      " once more, over whatever was written to the " + record.role() + " since");
  };
  if (is_merged && !wishes.last_round && !wishes.again) return already_done();
  if (!origin_unchanged()) return {false, was_written_to(record, wanted.origin.path)};
  if (wishes.again) return {};
  if (is_empty_round && !wishes.last_round) return already_done();
  return {};
}

}  // namespace extmerge
