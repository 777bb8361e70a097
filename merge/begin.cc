// SPDX-License-Identifier: GPL-3.0-or-later
//
// The steps between plan and copy: claim the origin, lock the journal, begin or resume it. Here a
// merge also checks that origin, journal and source have not changed since the plan.

#include <algorithm>

#include "io/buffer.h"
#include "io/identity.h"
#include "io/text.h"
#include "io/transfer.h"
#include "merge/container.h"
#include "merge/journal/sample.h"
#include "merge/merge.h"

namespace extmerge {

namespace {

bool is_certainly_same(const JournalDevice& a, const JournalDevice& b) {
  return a.identity == b.identity && is_certain_identity(a.identity);
}

bool are_certainly_same(const MergeRecord& a, const MergeRecord& b) {
  return is_certainly_same(a.origin, b.origin) && is_certainly_same(a.metadata, b.metadata) &&
         is_certainly_same(a.data, b.data);
}

constexpr Bytes kBlockEnds{4096};  // data is read in whole 4 KiB blocks

// False if the bytes differ, or if so few cannot be read directly.
bool same_bytes(BlockDevice& a, Bytes at_a, BlockDevice& b, Bytes at_b, Bytes length) {
  for (const BlockDevice* device : {&a, &b}) {
    if (length.value() % device->logical_block_size().value() != 0) return false;
  }
  const Buffer memory(2 * kBlockEnds.value());
  const auto of_a = memory.span().subspan(0, length.value());
  const auto of_b = memory.span().subspan(kBlockEnds.value(), length.value());
  read_fully(a, *a.make_queue(1), at_a, of_a);
  read_fully(b, *b.make_queue(1), at_b, of_b);
  return std::ranges::equal(of_a, of_b);
}

void grow_origin(const Journal& journal, BlockDevice& origin) {
  const Bytes size = journal.record().origin_size_after;
  if (origin.size() < size) origin.resize(size);
}

}  // namespace

std::function<void()> Merger::watch() const {
  return [custody = job_.custody] { custody->check_origin(); };
}

void Merger::refuse_unfit_devices(Purpose purpose) const {
  const auto judge = [&](const DeviceFacts& facts, const std::string& role, Bytes ends) -> Refusal {
    if (options_.overrides.allow_container) return {};
    const auto device = job_.custody->open(facts, OpenMode::kReadOnly, ends);
    const auto container = find_container(*device, facts.path);
    if (!container) return {};
    return container_refused(*container, role, facts.path);
  };
  std::vector<Error> refusals = refuse_devices(job_, options_.beyond_origin, purpose);
  // Most compressed files have an odd size, so look for a container despite that refusal.
  const bool is_odd = refusals.size() == 1 && refusals.front().id() == MessageId::kOddSize;
  Refusal found;
  if (is_odd) found = judge(job_.origin, job_.role(), alignment_of(job_.origin.size));
  if (refusals.empty() && !job_.data_is_certain)
    found = judge(job_.data, "data device", kBlockEnds);
  if (found) refusals.insert(refusals.begin(), *found);
  refuse_any(refusals);
}

Refusal Merger::judge_origin(State& state, const PlanReport& plan) const {
  if (options_.overrides.allow_container) return {};
  const auto origin = open_readable_origin();
  if (!origin) return {};
  const auto container = find_container(*origin, job_.origin.path);
  if (!container) return {};
  if (container->at_start) {
    // A guest may write anything to its disk. If the thin holds the same start, an earlier run may
    // have merged it there.
    PlannedRuns runs(state.reader(), state.device(), state.end_of_data(), plan.limits, stop_);
    ExtentSource extents(runs, plan.limits);
    const auto first = extents.next(kBlockEnds);
    if (first && first->origin_offset == Bytes(0) &&
        same_bytes(*origin, Bytes(0), state.data(), first->data_offset, first->length))
      return {};
  }
  return container_refused(*container, job_.role(), job_.origin.path);
}

JournalDecision Merger::decide_journal(State& state, Journal* journal, const MergeRecord& wanted) {
  JournalWishes wishes{must_resume_,   options_.restart,
                       options_.again, options_.overrides.allow_stale,
                       job_.merged_as, options_.last_round};
  wishes.full = options_.round == RoundChoice::kFull;
  if (job_.undo_log) wishes.undo_log = job_.undo_log->path;
  wishes.undo_log_exists = options_.restart && undo_log_exists(journal);
  const auto is_unchanged = [&] {
    const auto origin = open_readable_origin();
    // The check runs again when the origin is active and claimed.
    if (!origin) return true;
    return is_as_merged(*journal, *origin);
  };
  const auto origin_unchanged = [&] {
    return (decides_later_ && wanted.copy_bytes > Bytes(0)) || is_unchanged();
  };
  JournalDecision decision = decide(journal, wanted, wishes, origin_unchanged);
  if (decision.refusal && decision.refusal->id() == MessageId::kAlreadyDone) {
    decision.nothing_new =
        (wanted.is_round() || is_unwritten_since(journal->record(), wanted)) && is_unchanged();
  }
  const bool follows_another = journal && journal->state() == JournalState::kDone &&
                               !decision.refusal && !options_.again && !wanted.is_round() &&
                               !wanted.is_copy() && !options_.overrides.allow_shared_origin &&
                               same_pool(journal->record(), wanted) &&
                               !is_same_source(journal->record(), wanted, job_.merged_as) &&
                               !is_later(wanted, journal->record());
  if (!follows_another) return decision;
  // Where this thin maps nothing, it now shows what was merged from the other thin.
  uint64_t changed = count_unmapped(*journal->all_runs(), state.reader(),
                                    state.device().mapping_root, state.end_of_data(), stop_);
  // The journal of a round does not have the blocks of the rounds before.
  if (journal->record().is_round()) changed = std::max<uint64_t>(changed, 1);
  if (changed == 0) return decision;
  return {false,
          Error(MessageId::kSharedOrigin,
                thin_id_text(wanted.thin_id) + " was changed in " +
                    (journal->record().is_round() ? "at least " : "") + plural(changed, "block") +
                    " when " + thin_id_text(journal->record().thin_id) + " was merged into " +
                    wanted.origin.path + ": merging it now would give the state of neither",
                "to merge the state that it shows now, add --allow-shared-origin")};
}

// For a journal of version 1, which does not know the thin that was frozen. Only a freeze can prove
// it: a thin that was merged itself is written in place.
bool Merger::is_unwritten_since(const MergeRecord& done, const MergeRecord& wanted) const {
  return job_.thin_id != done.thin_id && job_.merged_as == done.thin_id &&
         done.creation_time < kEndOfTimes && wanted.newest_time < done.creation_time;
}

// The sample of the origin may miss a write; the time of a file's last modification shows it. This
// time is durable before DONE, because the last flush() of an image is an fsync().
uint64_t Merger::fingerprint(Journal& journal, BlockDevice& origin) const {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  return origin_fingerprint(journal, origin) ^ (job_.origin.modified * kOdd);
}

// An earlier version did not record the time for an image behind a loop device.
bool Merger::is_as_merged(Journal& done, BlockDevice& origin) const {
  return done.fingerprint() == fingerprint(done, origin) ||
         done.fingerprint() == origin_fingerprint(done, origin);
}

std::shared_ptr<BlockDevice> Merger::claim_origin(const PlanReport& plan) {
  const Bytes ends = std::min(alignment_of(plan.limits.end), alignment_of(job_.origin.size));
  const Bytes planned_for = job_.origin.size;
  std::shared_ptr<BlockDevice> origin = job_.custody->open(job_.origin, claim_mode(job_), ends);
  decides_later_ = false;
  // Check again: planning and the question took time.
  refuse_new_users(plan);
  if (origin->size() != planned_for) {
    throw Error(MessageId::kPathChanged,
                "the " + job_.role() + " " + job_.origin.path + " changed its size just now",
                "make sure nothing else uses it, and run the command again");
  }
  return origin;
}

// The question may have taken hours.
void Merger::refuse_stale_plan(State& state, const MergeRecord& wanted) const {
  if (options_.overrides.allow_stale) return;
  state.check_still_held();
  if (job_.custody->owns_mappings()) return;
  if (state.compare_with_live(wanted.mapping_root) != State::Freshness::kChanged) return;
  throw Error(
      MessageId::kStale,
      thin_id_text(wanted.thin_id) +
          " was written to after the plan was made; nothing was written to the " + job_.role(),
      "stop writing to the thin, reserve a new metadata snapshot, and run the same command again");
}

std::shared_ptr<FileLock> Merger::lock_journal() {
  if (job_.journal.lock) return job_.journal.lock;
  std::shared_ptr<FileLock> lock = job_.journal.directory->try_lock(lock_name(job_.journal.name));
  if (lock) return lock;
  throw Error(MessageId::kJournalLocked, job_.journal.path + " is in use by another extmerge",
              "wait for it (extmerge status " + job_.journal.path + "), or stop it");
}

std::unique_ptr<Journal> Merger::open_journal(bool writable) {
  DurableDirectory& directory = *job_.journal.directory;
  try {
    return Journal::open(directory, job_.journal.name, writable, true, stop_);
  } catch (const Error& error) {
    // --restart gives up an unreadable journal like any unfinished one, but only if the file is a
    // journal.
    if (!is_unreadable_journal(error) || !options_.restart) throw;
    refuse_to_lose_undo();
    if (job_.copy && !job_.copy->whole) {
      throw Error(error.id(),
                  std::string(error.what()) + "; so it is not known what the target has got",
                  "copy everything that the thin shows: --whole --restart");
    }
    if (Journal::is_ours(directory, job_.journal.name)) return nullptr;
    throw Error(MessageId::kNotAJournal, job_.journal.path + " is not a journal of extmerge",
                "name another file with --journal; nothing overrides this");
  }
}

std::unique_ptr<Journal> Merger::begin_or_go_on(State& state, BlockDevice& origin,
                                                const MergeRecord& wanted, MergeReport& report) {
  // The lock is held, so this decision is final.
  std::unique_ptr<Journal> journal = open_journal(true);
  const JournalDecision decision = decide_journal(state, journal.get(), wanted);
  if (decision.refusal) throw *decision.refusal;
  if (base_for(state, journal.get(), wanted).base != wanted.base) {
    throw Error(MessageId::kStale,
                "another " + job_.deed() + " has changed the journal " + job_.journal.path +
                    " since this one was planned",
                "run the same command again; nothing was written to the " + job_.role());
  }
  if (!decision.go_on) {
    const bool replaces_another = journal != nullptr;
    journal = begin_journal(state, origin, wanted, journal.get());
    try {
      // Grow the origin only now: its old size is durable in the journal.
      grow_origin(*journal, origin);
    } catch (const Error&) {
      // Nothing is copied yet, so remove the new journal. But keep it if it replaced a journal,
      // which may have said that all is merged.
      if (!replaces_another && origin.size() == wanted.origin_size_before) {
        job_.journal.directory->remove(job_.journal.name);
      }
      throw;
    }
    return journal;
  }
  journal->check_undo_log_is_known();
  // A power cut may have undone the growth.
  grow_origin(*journal, origin);

  refuse_unmerged(*journal, state, origin, wanted);
  report.resumed_from = journal->progress().position;
  const MergeRecord& begun = journal->record();
  // A run that finds a difference sets the position to 0, and the difference may lie outside the
  // round. So a round that goes on from there is compared with everything else.
  const bool is_in_doubt = begun.is_round() && report.resumed_from == Bytes(0);
  if (is_in_doubt && options_.verify != VerifyChoice::kNone) options_.verify = VerifyChoice::kFull;
  if (begun.digest != wanted.digest) {
    // The user asked to finish the old plan, so the counts of the new plan do not apply.
    if (!job_.origin.holders.empty() && !options_.overrides.allow_shared_origin) {
      throw Error(
          MessageId::kSharedOrigin,
          "thins use the origin, and it is not known what the old plan would change in them",
          "deactivate these thins, or accept that they change with --allow-shared-origin");
    }
    report.plan.summary = {.mapped_blocks = begun.mapped_blocks,
                           .copy_blocks = begun.block_size.blocks_holding(begun.copy_bytes),
                           .runs = begun.runs,
                           .copy_bytes = begun.copy_bytes,
                           .digest = begun.digest,
                           .state_digest = begun.state_digest};
    report.plan.limits = begun.limits();
    report.plan.siblings.clear();
  }
  return journal;
}

// A sample of the bytes below the position must be on the origin. All of them are compared if a
// device's identity is not certain, or if the tree has another root. A repair moves the same
// mappings. But a thin that was discarded and written again may have the same mappings by chance.
void Merger::refuse_unmerged(Journal& journal, State& state, BlockDevice& origin,
                             const MergeRecord& wanted) {
  const Bytes position = journal.progress().position;
  const bool is_certain = are_certainly_same(journal.record(), wanted);
  const bool is_moved = journal.record().mapping_root != wanted.mapping_root;
  const bool in_full = position > Bytes(0) && (!is_certain || is_moved);
  const auto difference = find_difference(journal, state, origin, position, in_full);
  if (!difference) return;
  throw Error(MessageId::kSampleDiffers,
              "the " + job_.role() + " " + job_.origin.path + " does not hold at byte " +
                  std::to_string(difference->value()) + " the data that " + job_.journal.path +
                  " records as " + wanted.done(),
              "the " + job_.role() + " was written to or replaced since, " +
                  (is_moved ? "or the thin was, " : "") + "or the journal belongs to another " +
                  job_.role() +
                  (is_certain ? "" : " (to a copy of this one: name another file with --journal)") +
                  "; to restart from the beginning: extmerge " + job_.deed() +
                  (job_.copy && job_.copy->whole ? " --whole" : "") + " --restart");
}

std::unique_ptr<Journal> Merger::begin_journal(State& state, BlockDevice& origin,
                                               MergeRecord wanted, Journal* last) {
  DurableDirectory& directory = *job_.journal.directory;
  Journal::discard_unpublished(directory, job_.journal.name);
  std::optional<HeldMappings> held;
  std::function<void(const Mapping&)> check_held;
  const Journal* const base = base_journal(last);
  if (wanted.is_round()) {
    if (last) wanted.old_places = places_to_keep(*last, origin);
    held.emplace(*base);
    check_held = [&](const Mapping& mapping) { held->check(mapping); };
  }
  if (job_.copy) refuse_other_contents(state, origin, wanted, last);
  const uint64_t nonce = job_.journal.nonce ? *job_.journal.nonce : random_nonce();
  // Make the undo log before the journal that names it.
  if (job_.undo_log) {
    UndoLog::create(*job_.undo_log->directory, job_.undo_log->name, nonce,
                    undo_log_owner(wanted.origin.identity));
  }
  std::unique_ptr<Journal> journal = Journal::begin(directory, job_.journal.name, wanted, nonce);
  // Walk the metadata again instead of keeping the plan in memory. The journal checks that the plan
  // is the same.
  journal->publish(*runs_of(state, wanted.limits(), last, check_held));
  return journal;
}

}  // namespace extmerge
