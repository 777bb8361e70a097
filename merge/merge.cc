// SPDX-License-Identifier: GPL-3.0-or-later
//
// The table of contents of the program. Comments name the guarantees at the points where they begin
// to hold. docs/crash-safety.md has the whole argument.

#include "merge/merge.h"

#include <algorithm>

namespace extmerge {

namespace {

// Adds how to continue to a failure during the copy.
Error with_way_back(const Error& error, const Job& job, const std::string& journal) {
  // A resume does not help after a difference or a changed source. When the pool fills up, extmerge
  // gives up what a resume would need.
  if (error.exit_status() == 4 || error.exit_status() == 8 || error.id() == MessageId::kPoolFull)
    return error;
  return Error(
      error.id(), error.what(),
      error.next() + (job.can_be_resumed
                          ? "; the " + job.deed() + " can be resumed: extmerge resume " + journal
                          : "; the same command restarts from the beginning"));
}

// A comparison would fetch over the network what it saves. And an answer takes longer than that of
// a disk, so more is in flight (./run bench copies).
PipelineOptions for_export(PipelineOptions options) {
  const PipelineOptions usual;
  if (options.compare == CompareMode::kAuto) options.compare = CompareMode::kNever;
  if (options.threads == usual.threads && options.buffer_size == usual.buffer_size) {
    options.threads = 8;
    options.buffer_size = Bytes(4 << 20);
  }
  // A server works on several requests at once.
  if (options.io_size == usual.io_size) options.io_size = Bytes(256 << 10);
  return options;
}

class JournalCheckpoints : public CheckpointSink {
 public:
  JournalCheckpoints(Journal& journal, const UndoLog* undo_log, Custody& custody)
      : journal_(journal), undo_log_(undo_log), custody_(custody) {}
  void record(const JournalProgress& progress) override {
    custody_.check_origin();
    JournalProgress recorded = progress;
    if (undo_log_) recorded.undo_log_bytes = undo_log_->durable_bytes();
    journal_.record_progress(recorded);
  }

 private:
  Journal& journal_;
  const UndoLog* const undo_log_;
  Custody& custody_;
};

}  // namespace

Merger::Merger(Job job, MergeOptions options, Progress& progress, std::stop_token stop)
    : job_(std::move(job)),
      options_(options),
      progress_(progress),
      stop_(std::move(stop)),
      decides_later_(job_.origin.is_export) {}

PlanReport Merger::plan(const RunListener& each_run) {
  decides_later_ = false;
  refuse_unfit_devices(Purpose::kMerge);
  State state(job_);
  PlanReport report = make_plan(state, Purpose::kMerge, each_run);
  if (!report.refusals.empty()) return report;
  try {
    // If thins hold the origin, preflight has judged them. Otherwise ask the kernel.
    if (claim_mode(job_) == OpenMode::kClaim && !job_.origin_is_inactive()) {
      job_.custody->open(job_.origin, OpenMode::kProbe, alignment_of(job_.origin.size));
    }
    if (job_.journal.directory) {
      Journal::check_unpublished(*job_.journal.directory, job_.journal.name);
      const std::string lock = lock_name(job_.journal.name);
      if (std::ranges::count(job_.journal.directory->names(), lock) > 0) lock_journal();
    }
  } catch (const Error& error) {
    const bool expected = error.id() == MessageId::kReadOnly && job_.origin_made_writable;
    if (!expected) report.refusals.push_back(error);
  }
  return report;
}

MergeReport Merger::resume(const Notice& notice) {
  must_resume_ = true;
  return merge([](const PlanReport&) { return true; }, notice);
}

MergeReport Merger::merge(const Confirm& confirm, const Notice& notice) {
  // Check device facts first: nothing is read from a wrong device.
  refuse_unfit_devices(Purpose::kMerge);

  // Read the pool metadata. The whole tree is walked and checked, so that a damaged tree never
  // leaves a half-merged origin.
  State state(job_);
  MergeReport report;
  report.plan = make_plan(state, Purpose::kMerge, {});
  // Asked for what changed, nothing is an answer.
  if (options_.round == RoundChoice::kSince && report.plan.has_nothing_to_merge()) return report;
  refuse_any(report.plan.refusals);
  const MergeRecord wanted = record_of(state, report.plan);
  if (notice) {
    for (const std::string& note : report.plan.notes) notice(note);
  }
  if (!confirm(report.plan)) {
    throw Error(MessageId::kNotConfirmed, "not confirmed: nothing was done",
                "run it again and answer y, or give --yes");
  }

  // The siblings map all blocks of the plan now, as the next plan proves.
  if (keep_siblings(report.plan)) return merge(confirm, notice);

  // From here to the end, this run holds the origin and the journal.
  const std::shared_ptr<BlockDevice> origin = claim_origin(report.plan);
  const std::shared_ptr<FileLock> lock = lock_journal();
  refuse_stale_plan(state, wanted);
  const std::unique_ptr<Journal> journal = begin_or_go_on(state, *origin, wanted, report);
  // From here on a merge can be resumed after a crash: the plan is durable, in place, and of a
  // fixed size. Only the plan's bytes are ever written.
  const auto started = std::chrono::steady_clock::now();
  try {
    const std::unique_ptr<PlanSpool> everything = spool_everything(state, *journal, wanted);
    job_.custody->release_mappings();
    report.counters = copy(*journal, state, *origin).counters;
    // Every planned byte is durable. Now check that the bytes are right, that the plan is still
    // current, and that nobody else uses the origin.
    const Verified verified = verify_merged(*journal, state, *origin, everything.get(),
                                            report.plan.resumable_from.has_value());
    refuse_changes_meanwhile(state, *journal, wanted, report.plan);
    journal->record_done(fingerprint(*journal, *origin), verified);
  } catch (const Error& error) {
    throw with_way_back(error, job_, journal->path());
  }
  // Buffered readers of the origin have seen the old cache until now.
  origin->drop_cache();

  progress_.phase = Phase::kFinished;
  report.seconds = seconds_since(started);
  report.verified = options_.verify;
  report.journal = journal->path();
  report.undo_log = journal->record().undo_log;
  report.state = journal->state();
  report.total_bytes = journal->record().copy_bytes;
  report.durable_bytes = journal->progress().position;
  return report;
}

JournalProgress Merger::copy(Journal& journal, State& state, BlockDevice& origin) {
  const JournalProgress start = journal.progress();
  progress_.total_bytes = journal.record().copy_bytes.value();
  progress_.done_bytes = start.position.value();
  progress_.durable_bytes = start.position.value();
  progress_.phase = Phase::kCopying;

  Bytes skip;
  const std::unique_ptr<RunSource> runs = journal.runs_from(start.position, skip);
  ExtentSource extents(*runs, journal.record().limits(), skip);
  const std::unique_ptr<UndoLog> undo_log = open_undo_log(journal);
  JournalCheckpoints checkpoints(journal, undo_log.get(), *job_.custody);
  const PipelineOptions pipeline =
      job_.origin.is_export ? for_export(options_.pipeline) : options_.pipeline;
  return copy_extents({state.data(), origin, extents, start, watch(), undo_log.get()}, pipeline,
                      checkpoints, progress_, stop_);
}

Job job_of(const MergeRecord& record) {
  Job job;
  job.metadata_path = record.metadata.path;
  job.data_path = record.data.path;
  job.origin_path = record.origin.path;
  job.thin_id = record.thin_id;
  job.thin_size = record.thin_size;
  job.root_choice = record.root_choice;
  job.root_block = record.root_block;
  if (record.copy) job.copy = {{}, record.copy->origin.path, record.copy->whole};
  return job;
}

}  // namespace extmerge
