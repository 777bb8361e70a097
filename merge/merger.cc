// SPDX-License-Identifier: GPL-3.0-or-later
//
// The table of contents of the program. What makes a merge safe is said at the
// places where it becomes true; docs/crash-safety.md has the whole argument.

#include "merge/merger.h"

#include <algorithm>
#include <ctime>

#include "io/transfer.h"
#include "merge/beyond_origin.h"
#include "merge/sample.h"

namespace extmerge {

namespace {

PlanLimits limits_of(const MergeTarget& target, const Source& source, BeyondOriginChoice beyond) {
  Bytes end = target.origin.size;
  if (target.thin_size) {
    end = beyond == BeyondOriginChoice::kExtend ? *target.thin_size
                                                : std::min(end, *target.thin_size);
  }
  return {source.superblock().data_block_size, end, target.thin_size};
}

// After a failure in the middle the administrator should know two things: the
// snapshot's view is as it was, and how to go on.
Error with_way_back(const Error& error, const MergeTarget& target, const std::string& journal) {
  // A device that differs or a source that changed is not mended by going on, and a pool
  // that fills up makes us give up what it would go on from.
  if (error.exit_status() == 4 || error.exit_status() == 8 || error.id() == MessageId::kPoolFull)
    return error;
  if (!target.can_be_resumed) {
    return Error(error.id(), error.what(), error.next() + "; the same command begins anew");
  }
  return Error(error.id(), error.what(),
               error.next() + "; the merge can be resumed: extmerge resume " + journal);
}

// What `read` makes of mappings and data; if the metadata snapshot was released meanwhile, whatever
// came of it is of no worth. Throws kMetadataSnapshotGone then.
template <typename Read>
auto read_while_held(Source& source, const Read& read) {
  try {
    const auto result = read();
    source.check_still_held();
    return result;
  } catch (const Error& error) {
    if (error.id() != MessageId::kStopped) source.check_still_held();
    throw;
  }
}

class JournalCheckpoints : public CheckpointSink {
 public:
  JournalCheckpoints(Journal& journal, const UndoLog* undo_log,
                     const std::function<void()>& check_origin, Progress& progress)
      : journal_(journal), undo_log_(undo_log), check_origin_(check_origin), progress_(progress) {}
  void record(const JournalProgress& progress) override {
    if (check_origin_) check_origin_();
    JournalProgress recorded = progress;
    if (undo_log_) recorded.undo_log_bytes = undo_log_->durable_bytes();
    journal_.record_progress(recorded);
    progress_.durable_bytes = progress.position.value();
  }

 private:
  Journal& journal_;
  const UndoLog* const undo_log_;
  const std::function<void()>& check_origin_;
  Progress& progress_;
};

}  // namespace

Merger::Merger(MergeTarget target, MergeOptions options, Progress& progress, std::stop_token stop)
    : target_(std::move(target)), options_(options), progress_(progress), stop_(std::move(stop)) {}

PlanReport Merger::plan(const RunListener& each_run) {
  refuse_unfit_devices(Purpose::kMerge);
  Source source(target_);
  PlanReport report = make_plan(source, Purpose::kMerge, each_run);
  if (!report.refusals.empty()) return report;
  try {
    // Where thins hold the origin, preflight has judged them; otherwise ask the kernel.
    if (claim_mode(target_) == OpenMode::kClaim && !target_.origin_is_inactive()) {
      target_.open(target_.origin, OpenMode::kProbe, alignment_of(target_.origin.size));
    }
    if (target_.journal.directory) {
      Journal::check_unpublished(*target_.journal.directory, target_.journal.name);
      const std::vector<std::string> names = target_.journal.directory->names();
      if (std::find(names.begin(), names.end(), lock_name(target_.journal.name)) != names.end()) {
        lock_journal();
      }
    }
  } catch (const Error& error) {
    const bool expected = error.id() == MessageId::kReadOnly && target_.origin_made_writable;
    if (!expected) report.refusals.push_back(error);
  }
  return report;
}

MergeReport Merger::resume(const Notice& notice) {
  must_resume_ = true;
  return merge([](const PlanReport&) { return true; }, notice);
}

MergeReport Merger::merge(const Confirm& confirm, const Notice& notice) {
  // What the devices tell: nothing is read from a device that cannot be right.
  refuse_unfit_devices(Purpose::kMerge);

  // What the pool says. The whole tree is walked and checked, so that a damaged
  // one never leaves a half-merged origin.
  Source source(target_);
  MergeReport report;
  report.plan = make_plan(source, Purpose::kMerge, {});
  refuse_any(report.plan.refusals);
  const MergeRecord wanted = record_of(source, report.plan);
  if (notice) {
    for (const std::string& note : report.plan.notes) notice(note);
  }
  if (!confirm(report.plan)) {
    throw Error(MessageId::kNotConfirmed, "not confirmed: nothing was done",
                "run it again and answer y, or give --yes");
  }

  // The origin is ours from here to the end, and so is the journal.
  const std::shared_ptr<BlockDevice> origin = claim_origin(report.plan);
  const std::shared_ptr<FileLock> lock = lock_journal();
  refuse_stale_plan(source, wanted);
  const std::unique_ptr<Journal> journal = begin_or_go_on(source, *origin, wanted, report);
  if (target_.mappings_read) target_.mappings_read();

  // Beyond this point a crash can be resumed: the plan is durable, in place, and
  // of a fixed size. Only bytes that it names are ever written.
  const auto started = std::chrono::steady_clock::now();
  try {
    report.counters = copy(*journal, source, *origin).counters;
    // Every planned byte is durable. Whether they are the right ones, and still
    // the ones to merge, and nobody else has come to use the origin:
    verify_merged(*journal, source, *origin);
    refuse_changed_source(source, wanted, report.plan);
    refuse_new_users(report.plan);
    refuse_newly_harmed(*journal, report.plan);
    journal->record_done(fingerprint(*journal, *origin));
  } catch (const Error& error) {
    throw with_way_back(error, target_, journal->path());
  }
  // Buffered readers of the origin saw the cache until now.
  origin->drop_cache();

  progress_.phase = Phase::kFinished;
  report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  report.verified = options_.verify;
  report.journal = journal->path();
  report.undo_log = journal->record().undo_log;
  report.state = journal->state();
  report.total_bytes = journal->record().copy_bytes;
  report.durable_bytes = journal->progress().position;
  return report;
}

VerifyReport Merger::verify() {
  // Nothing is grown here: what is missing at the origin's end is a difference
  // like any other data there.
  if (options_.beyond_origin == BeyondOriginChoice::kExtend) {
    options_.beyond_origin = BeyondOriginChoice::kRefuse;
  }
  refuse_unfit_devices(Purpose::kVerify);
  Source source(target_);
  VerifyReport report;
  report.plan = make_plan(source, Purpose::kVerify, {});
  refuse_any(report.plan.refusals);

  const PlanLimits& limits = report.plan.limits;
  const auto origin = target_.open(target_.origin, OpenMode::kReadOnly, alignment_of(limits.end));
  PlannedRuns runs(source.reader(), source.device(), source.end_of_data(), limits, stop_);
  ExtentSource extents(runs, limits);
  progress_.total_bytes = report.plan.summary.copy_bytes.value();
  progress_.done_bytes = 0;
  progress_.phase = Phase::kVerifying;
  const auto started = std::chrono::steady_clock::now();
  report.result =
      compare_extents({source.data(), *origin, extents, {}}, options_.pipeline, progress_, stop_);
  source.check_still_held();
  progress_.phase = Phase::kFinished;
  report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return report;
}

PlanReport Merger::make_plan(Source& source, Purpose purpose, const RunListener& each_run) {
  progress_.mappings_read = 0;
  progress_.phase = Phase::kPlanning;
  PlanReport report;
  report.thin_id = target_.thin_id;
  report.limits = limits_of(target_, source, options_.beyond_origin);
  report.metadata_snap = source.superblock().location;
  report.transaction_id = source.superblock().transaction_id;
  report.origin_bytes = target_.origin.size;

  PlanFacts facts;
  facts.limits = report.limits;
  BeyondOriginScan beyond(source.data());
  const bool look_beyond = options_.beyond_origin == BeyondOriginChoice::kRefuse;
  BeyondOrigin look_at;
  if (look_beyond) look_at = [&](const Extent& extent) { beyond.look_at(extent, stop_); };
  std::vector<ThinDevice> others;
  if (purpose == Purpose::kMerge) others = devices_to_compare(source);
  std::optional<PlannedTree> tree;
  if (!others.empty()) tree.emplace(source.device(), report.limits, source.reader().nr_blocks());
  report.summary = sum_up(source, report.limits, each_run, look_at, tree ? &*tree : nullptr);
  facts.summary = report.summary;
  facts.beyond_origin_has_data = beyond.found_data();
  report.siblings_are_known = target_.origin_users.has_value();
  if (tree) report.siblings = compare(source, *tree, others);
  if (purpose == Purpose::kMerge && target_.origin_users) {
    report.siblings = known_siblings(report.siblings, report.summary.copy_blocks);
  }
  facts.siblings = report.siblings;
  source.check_still_held();

  facts.needs_check = source.needs_check();
  const Source::Freshness freshness = source.compare_with_live(source.device().mapping_root);
  // One that is in use changes all the time; it will be frozen first.
  facts.device_changed = freshness == Source::Freshness::kChanged && !target_.will_be_frozen;
  report.refusals =
      refuse_plan(facts, target_, options_.beyond_origin, options_.overrides, purpose);
  // The first, since the cures of others (grow the origin) are wrong for a container.
  if (const Refusal refusal = judge_origin(source, report))
    report.refusals.insert(report.refusals.begin(), *refusal);
  // A metadata snapshot of this run's own is of this moment. Whether the thin changes from now on
  // is asked in another one before the merge is done.
  if (freshness == Source::Freshness::kBusy && !target_.will_be_frozen &&
      !target_.read_mappings_again && !options_.overrides.allow_stale) {
    report.refusals.push_back(source.busy());
  }
  facts.live_tree_unreadable = report.live_tree_unreadable =
      freshness == Source::Freshness::kUnknown;
  report.notes = notes_for(facts, target_, options_.beyond_origin, options_.overrides);
  if (purpose == Purpose::kMerge && target_.journal.directory) {
    const std::unique_ptr<Journal> journal = open_journal(false);
    JournalDecision decision = decide_journal(source, journal.get(), record_of(source, report));
    if (decision.refusal) report.refusals.push_back(*decision.refusal);
    report.nothing_new = decision.nothing_new;
    if (decision.go_on) report.resumable_from = journal->progress().position;
    const bool replaces_done = journal && journal->state() == JournalState::kDone &&
                               !decision.refusal && undo_log_exists(journal.get());
    if (replaces_done) {
      report.notes.push_back("the merge before can be undone now, with " +
                             journal->record().undo_log + ", and no longer when this one begins");
    }
  }
  if (purpose == Purpose::kMerge && target_.undo_log && !report.resumable_from) {
    plan_undo_log(source, report);
  }
  if (options_.draw_map) draw_map(source, report);
  return report;
}

std::shared_ptr<BlockDevice> Merger::open_readable_origin() const {
  if (target_.origin_is_inactive() && !target_.origin_below) return nullptr;
  const DeviceFacts& readable =
      target_.origin_is_inactive() ? *target_.origin_below : target_.origin;
  return target_.open(readable, OpenMode::kReadOnly, alignment_of(readable.size));
}

void Merger::draw_map(Source& source, PlanReport& plan) const {
  OriginMap map(plan.limits.block_size);
  PlannedRuns runs(source.reader(), source.device(), source.end_of_data(), plan.limits, stop_,
                   [&](const Extent& beyond) {
                     map.add(OriginMap::kBeyond, beyond.origin_offset, beyond.length);
                   });
  ExtentSource extents(runs, plan.limits);
  std::shared_ptr<BlockDevice> origin;
  std::optional<Error> failure;
  try {
    origin = open_readable_origin();
  } catch (const Error& error) {
    failure = error;
  }
  const auto failed = read_while_held(source, [&] {
    return draw_plan(extents, plan.summary.copy_bytes, plan.summary.end_of_copy, source.data(),
                     origin.get(), plan.origin_bytes, OriginMap::kMostCells, stop_, map);
  });
  if (failed) failure = failed;
  if (failure) {
    plan.notes.push_back("some of it could not be compared for the picture: " +
                         std::string(failure->what()));
  }
  plan.map = std::move(map);
}

PlanSummary Merger::sum_up(Source& source, const PlanLimits& limits, const RunListener& each_run,
                           const BeyondOrigin& beyond, PlannedTree* tree) {
  const auto scan = [&](const BeyondOrigin& look_at, const MappingsRead& read) {
    return summarize(source.reader(), source.device(), source.end_of_data(), limits, stop_, look_at,
                     read, tree);
  };
  if (!each_run) {
    return scan(beyond, [this](uint64_t mappings) { progress_.mappings_read += mappings; });
  }
  PlannedRuns runs(source.reader(), source.device(), source.end_of_data(), limits, stop_, beyond);
  Run run;
  while (runs.next(run)) {
    each_run(run);
    progress_.mappings_read += run.blocks;
  }
  if (tree) scan({}, {});
  return runs.summary();
}

bool Merger::is_sibling(const OriginUser& user) const {
  return !user.of_this_pool || (user.id != target_.thin_id && user.id != target_.frozen_from);
}

std::vector<ThinDevice> Merger::devices_to_compare(const Source& source) const {
  std::vector<ThinDevice> devices;
  if (!target_.origin_users) {
    devices = source.devices();
    std::erase_if(devices, [&](const ThinDevice& one) { return one.id == target_.thin_id; });
    return devices;
  }
  for (const OriginUser& user : *target_.origin_users) {
    if (!user.of_this_pool || !is_sibling(user)) continue;
    if (const ThinDevice* const device = source.device_of(user.id)) devices.push_back(*device);
  }
  return devices;
}

std::vector<Sibling> Merger::compare(Source& source, const PlannedTree& tree,
                                     const std::vector<ThinDevice>& devices) {
  progress_.thins = devices.size();
  const auto read = [this](uint64_t thins, uint64_t mappings) {
    progress_.thins_read += thins;
    progress_.mappings_read += mappings;
  };
  std::vector<Sibling> siblings =
      find_siblings(source.reader(), devices, tree, source.end_of_data(), read, stop_);
  progress_.thins_read = devices.size();
  return siblings;
}

std::vector<Sibling> Merger::known_siblings(const std::vector<Sibling>& compared,
                                            uint64_t plan_blocks) const {
  std::vector<Sibling> siblings;
  for (const OriginUser& user : *target_.origin_users) {
    if (!is_sibling(user)) continue;
    // Nothing is known of the mappings of a thin of another pool, nor of one that is younger than
    // the metadata snapshot.
    Sibling sibling{user.id, {}, plan_blocks, true};
    const auto same = std::find_if(compared.begin(), compared.end(),
                                   [&](const Sibling& one) { return one.id == user.id; });
    if (user.of_this_pool && same != compared.end()) sibling = *same;
    sibling.name = user.name;
    sibling.certain = true;
    siblings.push_back(sibling);
  }
  return siblings;
}

MergeRecord Merger::record_of(const Source& source, const PlanReport& plan) const {
  MergeRecord record;
  record.metadata = {target_.metadata_path, target_.metadata.identity};
  record.data = {target_.data_path, target_.data.identity};
  record.origin = {target_.origin_path, target_.origin.identity};
  record.thin_id = target_.thin_id;
  record.creation_time = source.device().creation_time;
  record.transaction_id = source.device().transaction_id;
  record.pool_time = source.superblock().time;
  record.pool_transaction_id = source.superblock().transaction_id;
  record.root_choice = target_.root_choice;
  record.root_block = target_.root_block;
  record.mapping_root = source.device().mapping_root;
  record.block_size = plan.limits.block_size;
  record.logical_block_size = target_.origin.logical_block_size;
  record.thin_size = target_.thin_size;
  record.beyond_origin = options_.beyond_origin;
  record.origin_size_before = target_.origin.size;
  record.origin_size_after = std::max(target_.origin.size, plan.limits.end);
  record.plan_end = plan.limits.end;
  record.mapped_blocks = plan.summary.mapped_blocks;
  record.runs = plan.summary.runs;
  record.copy_bytes = plan.summary.copy_bytes;
  record.digest = plan.summary.digest;
  record.created_at = static_cast<uint64_t>(std::time(nullptr));
  if (target_.undo_log) record.undo_log = target_.undo_log->path;
  return record;
}

JournalProgress Merger::copy(Journal& journal, Source& source, BlockDevice& origin) {
  const JournalProgress start = journal.progress();
  progress_.total_bytes = journal.record().copy_bytes.value();
  progress_.done_bytes = start.position.value();
  progress_.durable_bytes = start.position.value();
  progress_.phase = Phase::kCopying;

  Bytes skip;
  const std::unique_ptr<RunSource> runs = journal.runs_from(start.position, skip);
  ExtentSource extents(*runs, journal.record().limits(), skip);
  const std::unique_ptr<UndoLog> undo_log = open_undo_log(journal);
  JournalCheckpoints checkpoints(journal, undo_log.get(), target_.check_origin, progress_);
  return copy_extents({source.data(), origin, extents, start, target_.check_origin, undo_log.get()},
                      options_.pipeline, checkpoints, progress_, stop_);
}

void Merger::verify_merged(Journal& journal, Source& source, BlockDevice& origin) {
  std::optional<Bytes> difference;
  if (options_.verify == VerifyChoice::kSample) {
    const auto found = compare_sample(journal, source.data(), origin, journal.record().copy_bytes);
    if (found) difference = found->origin_offset;
  } else if (options_.verify == VerifyChoice::kFull) {
    progress_.done_bytes = 0;
    progress_.phase = Phase::kVerifying;
    Bytes skip;
    const std::unique_ptr<RunSource> runs = journal.runs_from(Bytes(0), skip);
    ExtentSource extents(*runs, journal.record().limits(), skip);
    difference = compare_extents({source.data(), origin, extents, {}, target_.check_origin},
                                 options_.pipeline, progress_, stop_)
                     .first_difference;
  }
  if (!difference) return;
  // What the journal claims is not so: let the next run copy everything again. What was saved
  // stays saved.
  JournalProgress nothing;
  nothing.undo_log_bytes = journal.progress().undo_log_bytes;
  journal.record_progress(nothing);
  throw Error(MessageId::kDiffers,
              "the origin " + target_.origin.path + " differs from the snapshot at byte " +
                  std::to_string(difference->value()) + " after the merge",
              "something else writes to the origin or to the snapshot's data, or a device loses "
              "writes; stop that and run the merge again: it begins at the start");
}

MergeTarget target_of(const MergeRecord& record) {
  MergeTarget target;
  target.metadata_path = record.metadata.path;
  target.data_path = record.data.path;
  target.origin_path = record.origin.path;
  target.thin_id = record.thin_id;
  target.thin_size = record.thin_size;
  target.root_choice = record.root_choice;
  target.root_block = record.root_block;
  return target;
}

}  // namespace extmerge
