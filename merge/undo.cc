// SPDX-License-Identifier: GPL-3.0-or-later
//
// Undo of a merge, and the preparations for it during a merge. merge/undo/work puts the bytes back;
// this file has the refusals.

#include "merge/merge.h"

#include <algorithm>
#include <iterator>

#include "io/identity.h"
#include "io/text.h"
#include "merge/container.h"
#include "merge/copy/rate_limit.h"
#include "merge/journal/sample.h"
#include "merge/undo/work.h"

namespace extmerge {

namespace {

// The Error if the state is not the recorded thin's; nothing if it is.
std::optional<Error> not_there(const State& state, const Job& job, const MergeRecord& record) {
  const ThinDevice& device = state.device();
  if (!is_same_identity(job.metadata.identity, record.metadata.identity) ||
      !is_same_identity(job.data.identity, record.data.identity)) {
    return Error(MessageId::kOtherSource,
                 job.metadata.path + " and " + job.data.path + " belong to another pool now",
                 "make the pool's own devices available under these paths");
  }
  if (device.id == record.thin_id && device.creation_time == record.creation_time &&
      device.transaction_id == record.transaction_id)
    return {};
  return Error(MessageId::kThinIdAbsent,
               thin_id_text(record.thin_id) + " belongs to another thin now", "");
}

Error without_undo_log(const Journal& journal) {
  const MergeRecord& record = journal.record();
  return Error(MessageId::kNoUndoLog,
               "the " + record.deed() + " in " + journal.path() + " was begun without an undo log",
               "the old contents of the " + record.role() + " were not saved; only " +
                   record.deed() + " --undo-log saves them");
}

// The place of a merge's undo log. Throws kNoUndoLog if its folder is missing; `next` ends the
// cure.
JournalPlace existing_place(const Job& job, const std::string& path, const std::string& next) {
  JournalPlace place = job.custody->undo_log_at(path);
  if (place.directory) return place;
  throw Error(MessageId::kNoUndoLog, "the undo log " + path + " is missing",
              "bring it back to where it was" + next);
}

}  // namespace

bool undo_log_may_exist(const std::function<JournalPlace()>& find) {
  try {
    const JournalPlace place = find();
    if (!place.directory || place.directory->open(place.name, false) != nullptr) return true;
    // An empty folder may be a mount point whose file system is not mounted.
    return place.directory->names().empty();
  } catch (const Error&) {
    return true;
  }
}

bool Merger::undo_log_exists(const Journal* journal) const {
  if (!journal || journal->record().undo_log.empty()) return false;
  return undo_log_may_exist([&] { return job_.custody->undo_log_at(journal->record().undo_log); });
}

void Merger::refuse_to_lose_undo() const {
  std::unique_ptr<Journal> journal;
  try {
    journal = Journal::open(*job_.journal.directory, job_.journal.name, false, false);
  } catch (const Error&) {
    return;  // its header is unreadable, too: no undo log is known
  }
  if (!journal || !is_under_way(journal->state()) || !undo_log_exists(journal.get())) return;
  throw Error(MessageId::kUndoFirst,
              "the plan in " + journal->path() + " is damaged, and it has the undo log " +
                  journal->record().undo_log + ", which would be lost",
              "restore the journal from a copy; to restart from the beginning without undo, mount "
              "the file system of the undo log and move the undo log away");
}

std::unique_ptr<UndoLog> Merger::open_undo_log(Journal& journal) {
  const std::string& path = journal.record().undo_log;
  if (path.empty()) return nullptr;
  const JournalPlace place = existing_place(
      job_, path, "; the merge does not continue without it, since it could not be undone");
  const JournalProgress& progress = journal.progress();
  return UndoLog::open(*place.directory, place.name, journal.nonce(), progress.undo_log_bytes,
                       progress.position, stop_);
}

UndoLogEstimate Merger::estimate_undo_log(State& state, const Journal* last,
                                          const PlanReport& plan) const {
  const Bytes all = plan.summary.copy_bytes;
  Bytes piece = options_.pipeline.buffer_size;
  if (const auto rate = options_.pipeline.rate_limit) {
    piece = std::min(piece, largest_piece(*rate, Bytes(kSectorSize)));
  }
  const uint64_t pieces = all.value() / piece.value() + 1;
  UndoLogEstimate estimate{job_.undo_log->path, {}, undo_log_size(all, pieces)};
  const auto origin = open_readable_origin();
  if (!origin || (job_.copy && !job_.copy->is_readable())) return estimate;
  const std::unique_ptr<RunSource> runs = runs_of(state, plan.limits, last);
  ExtentSource extents(*runs, plan.limits);
  const double different = sample_difference(extents, all, state.data(), *origin);
  state.check_still_held();
  const auto changed = static_cast<uint64_t>(static_cast<double>(all.value()) * different);
  estimate.expected = undo_log_size(Bytes(changed), pieces);
  return estimate;
}

void Merger::plan_undo_log(State& state, const Journal* last, PlanReport& report) const {
  const JournalPlace& place = *job_.undo_log;
  try {
    UndoLog::check_free(*place.directory, place.name, undo_log_owner(job_.origin.identity));
  } catch (const Error& error) {
    report.refusals.push_back(error);
  }
  report.undo_log = estimate_undo_log(state, last, report);
  const UndoLogEstimate& estimate = *report.undo_log;
  if (place.is_volatile) {
    report.notes.push_back("the undo log " + place.path +
                           " is on a file system in memory: after a power cut the merge cannot be "
                           "undone");
  }
  if (!place.free_space || *place.free_space >= estimate.most) return;
  const std::string room =
      "the undo log " + place.path + " takes " +
      (estimate.expected ? "about " + std::to_string(estimate.expected->value()) + ", " : "") +
      "at most " + std::to_string(estimate.most.value()) + " bytes, and " +
      std::to_string(place.free_space->value()) + " are free there";
  if (estimate.expected.value_or(estimate.most) <= *place.free_space) {
    report.notes.push_back(room + "; if that is not enough, the merge stops and can be resumed");
    return;
  }
  report.refusals.push_back(
      Error(MessageId::kNoSpace, room, "make room, or name a file elsewhere with --undo-log"));
}

// An undo changes what others read from the origin, as a merge does. If only the origin still holds
// the merged state, an undo destroys it.
void Merger::refuse_undo(Journal& journal) {
  const MergeRecord& record = journal.record();
  const Overrides& overrides = options_.overrides;
  // The thin and its origin stay as they are; nobody else may use the target.
  if (record.is_copy()) {
    if (const Refusal refusal = check_holders({}, job_, overrides)) throw *refusal;
    return;
  }
  std::unique_ptr<State> state;
  std::optional<Error> gone;
  try {
    state = std::make_unique<State>(job_);
    if (!job_.origin_users) gone = not_there(*state, job_, record);
  } catch (const Error& error) {
    // A lack of resources (exit status 3) does not mean that the snapshot is gone.
    if (error.exit_status() == 3) throw;
    gone = error;
  }
  if (gone && !overrides.allow_removed_snapshot) {
    throw Error(MessageId::kSnapshotGone,
                "the snapshot that was merged is missing, so the origin holds the only copy of its "
                "state: " +
                    std::string(gone->what()),
                (gone->next().empty() ? "look for it in the pool" : gone->next()) +
                    "; to give that state up, add --allow-removed-snapshot");
  }
  const auto users = job_.origin_users.value_or(std::vector<OriginUser>{});
  PlanFacts facts;
  for (const ThinDevice& device : state ? state->devices() : std::vector<ThinDevice>{}) {
    const auto user = std::ranges::find_if(
        users, [&](const OriginUser& each) { return each.of_this_pool && each.id == device.id; });
    const bool is_reader = user != users.end() || job_.is_active(device.id);
    if (job_.is_merged(device.id) ? gone.has_value() : !is_reader) continue;
    Sibling sibling{device.id, user != users.end() ? user->name : "", 0, false, true};
    if (sibling.name.empty()) sibling.name = thin_id_text(device.id);
    sibling.harmed_blocks = count_unmapped(*journal.all_runs(), state->reader(),
                                           device.mapping_root, state->end_of_data(), stop_);
    facts.siblings.push_back(sibling);
  }
  const uint64_t blocks = record.block_size.blocks_holding(record.copy_bytes);
  for (const OriginUser& user : users) {
    const bool is_counted =
        user.of_this_pool && std::ranges::count(facts.siblings, user.id, &Sibling::id) > 0;
    if (is_counted || !user.pool.empty()) continue;
    facts.siblings.push_back({user.id, user.name, blocks, true, true});
  }
  const auto runs = [&] { return journal.all_runs(); };
  std::ranges::move(siblings_elsewhere(record.limits(), blocks, runs),
                    std::back_inserter(facts.siblings));
  if (const Refusal refusal = check_siblings(facts, overrides)) throw *refusal;
  if (const Refusal refusal = check_holders(facts, job_, overrides)) throw *refusal;
  if (state) state->check_still_held();
}

void Merger::refuse_other_origin(const Journal& journal) {
  refuse_any(refuse_origin(job_));
  if (is_same_identity(job_.origin.identity, journal.record().origin.identity)) return;
  throw Error(MessageId::kOtherSource,
              job_.origin.path + " is not the " + job_.role() + " of the " + job_.deed() + " in " +
                  journal.path(),
              "make that " + job_.role() + " available under this path");
}

void Merger::refuse_other_size(const Journal& journal) const {
  const MergeRecord& record = journal.record();
  const Bytes size = job_.origin.size;
  const bool may_be_cut = journal.state() != JournalState::kDone;
  if (size != record.origin_size_after && !(may_be_cut && size == record.origin_size_before)) {
    throw Error(MessageId::kSizeChanged,
                "the " + job_.role() + " " + job_.origin.path + " has " + bytes_text(size) +
                    ", but the " + job_.deed() + " left " +
                    std::to_string(record.origin_size_after.value()),
                "resize it to " + bytes_text(record.origin_size_after));
  }
}

void Merger::refuse_container(const Journal& journal, const UndoSize& found) const {
  if (options_.overrides.allow_container) return;
  const auto readable =
      job_.custody->open(job_.origin, OpenMode::kReadOnly, alignment_of(job_.origin.size));
  const auto container = find_container(*readable, job_.origin.path);
  // The merge itself may have written such bytes from the thin. If the merge is done, the origin is
  // later checked in full against what the merge left.
  const bool is_checked = journal.state() == JournalState::kDone && !options_.overrides.allow_stale;
  const bool is_merged = container && is_checked &&
                         (container->at_start ? found.has_start : found.end == job_.origin.size);
  if (container && !is_merged) throw container_refused(*container, job_.role(), job_.origin.path);
}

std::shared_ptr<BlockDevice> Merger::claim_for_undo(Journal& journal) {
  const MergeRecord& record = journal.record();
  const Bytes ends = std::min({alignment_of(record.plan_end), alignment_of(job_.origin.size),
                               alignment_of(record.origin_size_before)});
  const std::shared_ptr<BlockDevice> origin =
      job_.custody->open(job_.origin, claim_mode(job_), ends);
  // Check again: the question took time.
  job_.custody->look_again(job_);
  refuse_other_origin(journal);
  refuse_undo(journal);
  return origin;
}

UndoReport Merger::undo(const ConfirmUndo& confirm, const Notice& notice) {
  const std::shared_ptr<FileLock> lock = lock_journal();
  const std::unique_ptr<Journal> journal = open_journal(true);
  if (!journal) {
    throw Error(MessageId::kNoJournal, "there is no journal " + job_.journal.path,
                "extmerge status lists the known journals");
  }
  const MergeRecord& record = journal->record();
  UndoReport report{
      journal->path(), record.undo_log, job_.origin_path, record.is_copy(), false, 0, {}, {}, 0};
  if (journal->state() == JournalState::kUndone) {
    report.was_undone = true;
    report.origin_bytes = record.origin_size_before;
    return report;
  }
  if (record.undo_log.empty()) {
    throw without_undo_log(*journal);
  }

  // The origin must be the one of the merge.
  refuse_other_origin(*journal);
  refuse_other_size(*journal);

  // The undo log must be the merge's own.
  journal->check_undo_log_is_known();
  const JournalPlace place = existing_place(job_, record.undo_log, "");
  const auto log = extmerge::open_undo_log(*place.directory, place.name, false);
  const UndoSize found = size_of_undo(*log, record.undo_log, *journal, stop_);
  report.ranges = found.ranges;
  report.saved_bytes = found.saved_bytes;
  refuse_container(*journal, found);

  // Other readers of the origin must not be harmed.
  refuse_undo(*journal);
  if (!confirm(report)) {
    throw Error(MessageId::kNotConfirmed, "not confirmed: nothing was done",
                "run it again and answer y, or give --yes");
  }
  const std::shared_ptr<BlockDevice> origin = claim_for_undo(*journal);

  // From here on, the same command continues an interrupted undo.
  const auto started = std::chrono::steady_clock::now();
  progress_.total_bytes = found.saved_bytes.value();
  UndoWork work(*log, record.undo_log, *journal, *origin, watch(), progress_, stop_);
  work.check(options_.overrides.allow_stale);
  journal->record_undoing();
  work.put_back(options_.overrides.allow_stale);
  work.verify();
  journal->record_undone();
  origin->drop_cache();

  progress_.phase = Phase::kFinished;
  report.origin_bytes = origin->size();
  report.seconds = seconds_since(started);
  if (notice) {
    notice("the undo log " + record.undo_log + " is still there; it is not needed any more");
  }
  return report;
}

}  // namespace extmerge
