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

// Refuses unless the unfinished merge has the same pool, thin and origin.
Refusal refuse_other_devices(const Journal& journal, const MergeRecord& wanted,
                             const JournalWishes& wishes) {
  const MergeRecord& begun = journal.record();
  if (!same_pool(begun, wanted) || begun.thin_id != wanted.thin_id) {
    if (wishes.must_resume) {
      return Error(
          MessageId::kOtherSource,
          "the devices named in " + journal.path() + " are not the ones the merge began with",
          "make " + begun.metadata.path + " and " + begun.data.path +
              " the pool's own devices again");
    }
    return Error(MessageId::kHalfMerged,
                 "the origin " + wanted.origin.path + " is half merged from " + thin_text(begun),
                 "finish that merge first (extmerge resume " + journal.path() +
                     "), or discard its journal with --restart");
  }
  if (!same_device(begun, wanted)) {
    return Error(
        MessageId::kThinIdReused,
        thin_text(begun) + " is not the device the merge began with: the id was used again",
        "the half-merged origin cannot be finished from it; --restart merges the new device");
  }
  const Bytes size = wanted.origin_size_before;
  if (size != begun.origin_size_before && size != begun.origin_size_after) {
    return Error(MessageId::kSizeChanged,
                 "the origin " + wanted.origin.path + " has " + std::to_string(size.value()) +
                     " bytes, the merge began with " +
                     std::to_string(begun.origin_size_before.value()),
                 "make sure it is the same origin, then restart from the beginning with --restart");
  }
  if (wanted.logical_block_size > begun.logical_block_size) {
    return Error(MessageId::kSizeChanged,
                 "the origin " + wanted.origin.path + " now has logical blocks of " +
                     std::to_string(wanted.logical_block_size.value()) +
                     " bytes, more than when the merge began",
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
                  "the unfinished merge in " + journal.path() + " has the undo log " +
                      begun.undo_log + ", which would be lost",
                  "extmerge undo " + journal.path() +
                      " puts the origin back; to restart from the beginning without undo, mount "
                      "the file system of the undo log and move the undo log away");
  }
  if (const Refusal refusal = refuse_other_devices(journal, wanted, wishes))
    return {false, *refusal};
  if (wishes.full && begun.is_round()) {
    return refuse(MessageId::kHalfMerged,
                  "the unfinished merge in " + journal.path() + " is a round, not a full merge",
                  "finish it first (extmerge resume " + journal.path() +
                      "), or restart from the beginning with --restart, which merges everything");
  }
  // Finish an old plan only if the user asked for that: `merge` has just shown the new one.
  if (!may_go_on_with(begun, wanted) && !(wishes.must_resume && wishes.allow_stale)) {
    const bool other_limits =
        begun.plan_end != wanted.plan_end || begun.block_size != wanted.block_size;
    return refuse(MessageId::kStale,
                  other_limits
                      ? "the unfinished merge in " + journal.path() +
                            " ends at another byte than this one (--thin-size, --beyond-origin)"
                      : thin_text(begun) + " has changed since the unfinished merge in " +
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
                  "the unfinished merge in " + journal.path() + " was begun " + with,
                  "leave out --undo-log, or restart from the beginning with --restart");
  }
  return {true, {}};
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
  if (!is_same_identity(record.origin.identity, wanted.origin.identity)) {
    return refuse(
        MessageId::kForeignJournal,
        journal->path() + " is the journal of another origin (" + record.origin.path + ")",
        "name another file with --journal, or the origin it belongs to");
  }
  if (journal->state() == JournalState::kCopying)
    return decide_unfinished(*journal, wanted, wishes);
  if (journal->state() == JournalState::kUndoing) {
    return refuse(MessageId::kUndoFirst, "the merge in " + journal->path() + " is being undone",
                  "finish the undo: extmerge undo " + journal->path());
  }
  if (journal->state() == JournalState::kUndone) {
    if (!wishes.must_resume) return {};
    return refuse(MessageId::kNothingToResume, "the merge in " + journal->path() + " was undone",
                  "extmerge merge begins another one");
  }
  if (wishes.must_resume) {
    return refuse(MessageId::kNothingToResume, "the merge in " + journal->path() + " is done",
                  "nothing is left to do; extmerge verify compares the origin with the snapshot");
  }
  if (wishes.again) return {};
  const bool is_merged =
      is_same_source(record, wanted, wishes.merged_as) && same_state(record, wanted);
  const bool is_empty_round = wanted.is_round() && wanted.copy_bytes == Bytes(0);
  const auto already_done = [&] {
    return refuse(MessageId::kAlreadyDone,
                  thin_text(record) + " was merged into " + record.origin.path + " already (" +
                      journal->path() + ")",
                  "extmerge verify compares the two; --again merges once more, over whatever was "
                  "written to the origin since");
  };
  if (is_merged && !wishes.last_round) return already_done();
  if (!origin_unchanged()) {
    return refuse(
        MessageId::kOriginChanged,
        "the origin " + wanted.origin.path +
            " was written to since the last merge into it was done",
        "find out who wrote to it, and compare the two (extmerge verify); --again puts the "
        "snapshot's blocks over the newer data, which is lost then");
  }
  if (is_empty_round && !wishes.last_round) return already_done();
  return {};
}

}  // namespace extmerge
