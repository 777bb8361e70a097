// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan of a merge, and every refusal.

#include <algorithm>
#include <ctime>
#include <iterator>

#include "merge/journal/sample.h"
#include "merge/merge.h"
#include "merge/plan/beyond_origin.h"

namespace extmerge {

namespace {

PlanLimits limits_of(const Job& job, const State& state, BeyondOriginChoice beyond) {
  if (job.copy) return {state.superblock().data_block_size, *job.thin_size, job.thin_size};
  Bytes end = job.origin.size;
  if (job.thin_size) {
    end = beyond == BeyondOriginChoice::kExtend ? *job.thin_size : std::min(end, *job.thin_size);
  }
  return {state.superblock().data_block_size, end, job.thin_size};
}

// The comparison of this round proves its own blocks only.
Error not_verified(const Job& job) {
  return Error(MessageId::kNotVerified,
               "no earlier merge into " + job.origin_path + " was compared in full",
               "compare one while the snapshot is in use (extmerge merge --verify=full), or leave "
               "out --verify=changed");
}

}  // namespace

PlanReport Merger::begin_report(const State& state) const {
  PlanReport report;
  report.thin_id = job_.thin_id;
  report.limits = limits_of(job_, state, options_.beyond_origin);
  report.metadata_snap = state.superblock().location;
  report.transaction_id = state.superblock().transaction_id;
  report.origin_bytes = job_.origin.size;
  report.siblings_are_known = job_.origin_users.has_value();
  report.keeps_siblings = options_.overrides.keep_siblings;
  if (job_.copy) {
    report.is_copy = true;
    report.is_whole = job_.copy->whole;
    report.target_bytes = job_.origin.size;
    report.origin_bytes = job_.copy->origin.size;
  }
  return report;
}

PlanReport Merger::make_plan(State& state, Purpose purpose, const RunListener& each_run) {
  progress_.begin_plan();
  PlanReport report = begin_report(state);
  std::unique_ptr<Journal> journal;
  if (purpose == Purpose::kMerge && job_.journal.directory) journal = open_journal(false);
  if (purpose == Purpose::kMerge) plan_base(state, journal.get(), report);
  PlanFacts facts;
  BeyondOriginScan beyond(state.data());
  BeyondOrigin look_at;
  if (options_.beyond_origin == BeyondOriginChoice::kRefuse && !job_.copy) {
    look_at = [&](const Extent& extent) { beyond.look_at(extent, stop_); };
  }
  std::vector<ThinDevice> others;
  if (purpose == Purpose::kMerge && !job_.copy) others = devices_to_compare(state);
  std::optional<PlannedTree> tree;
  if (!others.empty()) tree.emplace(state.device(), report.limits, state.reader().nr_blocks());
  report.summary = job_.copy
                       ? sum_up_copy(state, report.limits, journal.get(), each_run)
                       : sum_up(state, report.limits, each_run, look_at, tree ? &*tree : nullptr);
  facts.summary = report.summary;
  facts.beyond_origin_has_data = beyond.found_data();
  report.has_rest = job_.keeps_rest && beyond.found_data();
  if (tree) report.siblings = compare(state, *tree, others);
  if (purpose == Purpose::kMerge && job_.origin_users) add_known_siblings(state, report);
  facts.siblings = report.siblings;
  report.older = older_thins(state);
  state.check_still_held();

  facts.needs_check = state.needs_check();
  const State::Freshness freshness = freshness_of(state);
  facts.device_changed = freshness == State::Freshness::kChanged;
  report.refusals = refuse_plan(facts, job_, options_.beyond_origin, options_.overrides, purpose);
  // Put this refusal first: the cures of others (grow the origin) are wrong for a container.
  if (const Refusal refusal = judge_origin(state, report))
    report.refusals.insert(report.refusals.begin(), *refusal);
  if (freshness == State::Freshness::kBusy && !options_.overrides.allow_stale) {
    report.refusals.push_back(state.busy());
  }
  facts.live_tree_unreadable = report.live_tree_unreadable =
      freshness == State::Freshness::kUnknown;
  report.notes = notes_for(facts, job_, options_.beyond_origin, options_.overrides);
  if (purpose == Purpose::kMerge && job_.journal.directory) {
    plan_journal(state, journal.get(), report);
  }
  if (purpose == Purpose::kMerge && !report.resumable_from) {
    plan_room(state, journal.get(), report);
  }
  if (options_.draw_map) draw_map(state, journal.get(), report);
  return report;
}

// This run's own metadata snapshot is new. Another one shows, before the merge is done, whether the
// thin has changed since.
State::Freshness Merger::freshness_of(State& state) const {
  return job_.custody->owns_mappings() ? State::Freshness::kSame
                                       : state.compare_with_live(state.device().mapping_root);
}

BaseDecision Merger::base_for(const State& state, Journal* last, const MergeRecord& wanted) const {
  if (!options_.full_reason.empty()) return {{}, options_.full_reason};
  const ThinDevice* const thin =
      job_.frozen_from ? state.device_of(*job_.frozen_from) : &state.device();
  const Journal* const base = base_journal(last);
  return choose_base(base, wanted, thin,
                     {base == last ? options_.round : RoundChoice::kSince, options_.restart,
                      options_.again, base != last});
}

void Merger::plan_base(State& state, Journal* last, PlanReport& report) const {
  if (job_.since && last && last->state() != JournalState::kCopying) {
    throw Error(
        MessageId::kUsage,
        "the target " + job_.origin.path + " has a state of its own already (" + last->path() + ")",
        "name --since-last in place of --since: the copy takes what changed since that state");
  }
  const MergeRecord wanted = record_of(state, report);
  if (const Journal* const base = base_journal(last); base && job_.copy) {
    if (const Refusal refusal = refuse_without_whole(*base, wanted)) throw *refusal;
  }
  const BaseDecision decision = base_for(state, last, wanted);
  report.base = decision.base;
  if (starts_from_other(last)) report.since = job_.since->path();
  report.full_reason = decision.full_reason;
  if (decision.base) {
    report.limits.since = decision.base->time;
    report.limits.held_end = decision.base->end;
  } else if (options_.round == RoundChoice::kSince || starts_from_other(last)) {
    throw no_base(job_.since ? "--since" : "--since-last", decision.full_reason,
                  job_.since ? "copy everything that the thin shows: the same command with --whole "
                               "and without --since"
                             : "");
  }
}

Refusal Merger::find_other_mapping(State& state, const Journal& last,
                                   const PlanLimits& limits) const {
  HeldMappings held(last);
  const std::unique_ptr<RunSource> runs =
      runs_of(state, limits, &last, [&](const Mapping& mapping) { held.check(mapping); });
  try {
    for (Run run; runs->next(run);) {
    }
  } catch (const Error& error) {
    if (error.id() != MessageId::kOtherThin) throw;
    return error;
  }
  return {};
}

// Whether a merge would begin a journal, replace one or resume it.
void Merger::plan_journal(State& state, Journal* journal, PlanReport& report) {
  JournalDecision decision = decide_journal(state, journal, record_of(state, report));
  const bool needs_full = options_.verify == VerifyChoice::kChanged && options_.last_round &&
                          report.base && report.base->verified != Verified::kEverything;
  if (needs_full) report.refusals.push_back(not_verified(job_));
  // Nothing is called done by times alone. A merge makes this check while it builds the journal.
  const bool seems_done = report.base && report.summary.copy_bytes == Bytes(0) && journal &&
                          journal->state() == JournalState::kDone;
  if (seems_done) {
    const Refusal refusal = find_other_mapping(state, *journal, report.limits);
    if (refusal) report.refusals.push_back(*refusal);
  }
  if (decision.refusal) report.refusals.push_back(*decision.refusal);
  report.nothing_new = decision.nothing_new;
  if (report.has_nothing_to_merge()) report.notes.clear();  // they are about a merge
  if (report.nothing_new && !job_.readable_origin()) {
    report.notes.push_back("the origin " + job_.origin_path +
                           " is inactive: extmerge did not check whether it was written to since "
                           "the last merge. extmerge verify compares it with the snapshot");
  }
  if (decision.go_on) report.resumable_from = journal->progress().position;
  const bool replaces_done = journal && journal->state() == JournalState::kDone &&
                             !decision.refusal && undo_log_exists(journal);
  if (replaces_done) {
    report.notes.push_back("the previous " + job_.deed() + " can be undone with " +
                           journal->record().undo_log + " only until this " + job_.deed() +
                           " begins");
  }
}

void Merger::plan_room(State& state, const Journal* last, PlanReport& report) {
  if (!report.has_nothing_to_merge() && !job_.copy) {
    const Refusal refusal = job_.custody->judge_room(report.summary);
    if (refusal) report.refusals.push_back(*refusal);
  }
  if (job_.undo_log) plan_undo_log(state, last, report);
}

std::shared_ptr<BlockDevice> Merger::open_readable_origin() const {
  const DeviceFacts* const readable = job_.readable_origin();
  if (!readable) return nullptr;
  return job_.custody->open(*readable, OpenMode::kReadOnly, alignment_of(readable->size));
}

void Merger::draw_map(State& state, const Journal* last, PlanReport& plan) const {
  OriginMap map(plan.limits.block_size);
  const auto beyond = [&](const Extent& extent) {
    map.add(OriginMap::kBeyond, extent.origin_offset, extent.length);
  };
  const std::unique_ptr<RunSource> runs =
      job_.copy ? runs_of(state, plan.limits, last)
                : std::make_unique<PlannedRuns>(state.reader(), state.device(), state.end_of_data(),
                                                plan.limits, stop_, beyond);
  ExtentSource extents(*runs, plan.limits);
  std::shared_ptr<BlockDevice> origin;
  std::optional<Error> failure;
  try {
    origin = open_readable_origin();
  } catch (const Error& error) {
    failure = error;
  }
  try {
    const auto failed =
        draw_plan(extents, plan.summary.copy_bytes, plan.summary.end_of_copy, state.data(),
                  origin.get(), job_.origin.size, OriginMap::kMostCells, stop_, map);
    if (failed) failure = failed;
  } catch (const Error& error) {
    // If the metadata snapshot was released, that is the reason.
    if (error.id() != MessageId::kStopped) state.check_still_held();
    throw;
  }
  state.check_still_held();
  if (failure) {
    plan.notes.push_back("a part of the plan could not be compared for the picture: " +
                         std::string(failure->what()));
  }
  plan.map = std::move(map);
}

PlanSummary Merger::sum_up(State& state, const PlanLimits& limits, const RunListener& each_run,
                           const BeyondOrigin& beyond, PlannedTree* tree) {
  const auto scan = [&](const BeyondOrigin& look_at, const MappingsRead& read) {
    return summarize(state.reader(), state.device(), state.end_of_data(), limits, stop_, look_at,
                     read, tree);
  };
  if (!each_run) {
    return scan(beyond, [this](uint64_t mappings) { progress_.mappings_read += mappings; });
  }
  PlannedRuns runs(state.reader(), state.device(), state.end_of_data(), limits, stop_, beyond);
  for (Run run; runs.next(run);) {
    each_run(run);
    progress_.mappings_read += run.blocks;
  }
  if (tree) scan({}, {});
  return runs.summary();
}

std::vector<ThinId> Merger::older_thins(State& state) const {
  std::vector<ThinId> older;
  for (const ThinId id : job_.perhaps_older) {
    const ThinDevice* const device = state.device_of(id);
    if (device &&
        is_descendant(state.reader(), state.device(), *device, state.end_of_data(), stop_))
      older.push_back(id);
  }
  return older;
}

std::vector<ThinDevice> Merger::devices_to_compare(const State& state) const {
  std::vector<ThinDevice> devices;
  if (!job_.origin_users) {
    if (options_.overrides.keep_siblings) {
      throw Error(MessageId::kUsage, "--keep-siblings is for a volume of LVM only",
                  "leave it out: which thins read the origin is not known here");
    }
    devices = state.devices();
    std::erase_if(devices, [&](const ThinDevice& one) { return one.id == job_.thin_id; });
    return devices;
  }
  for (const OriginUser& user : *job_.origin_users) {
    if (!user.of_this_pool || job_.is_merged(user.id)) continue;
    if (const ThinDevice* const device = state.device_of(user.id)) devices.push_back(*device);
  }
  return devices;
}

std::vector<Sibling> Merger::compare(State& state, const PlannedTree& tree,
                                     const std::vector<ThinDevice>& devices) {
  progress_.thins = devices.size();
  const auto read = [this](uint64_t thins, uint64_t mappings) {
    progress_.thins_read += thins;
    progress_.mappings_read += mappings;
  };
  std::vector<Sibling> siblings =
      find_siblings(state.reader(), devices, tree, state.end_of_data(), read, stop_);
  progress_.thins_read = devices.size();
  for (Sibling& sibling : siblings) sibling.block_size = state.superblock().data_block_size;
  return siblings;
}

void Merger::add_known_siblings(State& state, PlanReport& report) {
  const uint64_t blocks = report.summary.copy_blocks;
  std::vector<Sibling> compared = std::move(report.siblings);
  report.siblings.clear();
  if (blocks > 0) {
    const auto runs = planned_runs(state, report.limits);
    std::ranges::move(siblings_elsewhere(report.limits, blocks, runs),
                      std::back_inserter(compared));
  }
  for (const OriginUser& user : *job_.origin_users) {
    if (!job_.is_sibling(user)) continue;
    const auto same = std::ranges::find_if(
        compared, [&](const Sibling& one) { return one.id == user.id && one.pool == user.pool; });
    const bool is_known = same != compared.end() && (user.of_this_pool || !user.pool.empty());
    // One that is younger than the metadata snapshot, or that nobody can tell from a snapshot.
    Sibling sibling = is_known ? *same : Sibling{user.id, {}, blocks, blocks > 0};
    sibling.name = user.name;
    sibling.pool = user.pool;
    sibling.certain = true;
    report.siblings.push_back(sibling);
  }
}

PlanRuns Merger::planned_runs(State& state, const PlanLimits& limits) const {
  return [this, &state, limits] {
    return std::make_unique<PlannedRuns>(state.reader(), state.device(), state.end_of_data(),
                                         limits, stop_);
  };
}

// Only if the metadata agrees that the merged thin can be a snapshot of that one.
std::optional<ThinIdentity> Merger::frozen_from(const State& state) const {
  const ThinDevice* const thin = job_.frozen_from ? state.device_of(*job_.frozen_from) : nullptr;
  if (!thin || thin->snapshotted_time < state.device().creation_time) return {};
  return ThinIdentity{thin->id, thin->creation_time, thin->transaction_id};
}

MergeRecord Merger::record_of(const State& state, const PlanReport& plan) const {
  MergeRecord record;
  record.metadata = {job_.metadata_path, job_.metadata.identity};
  record.data = {job_.data_path, job_.data.identity};
  record.origin = {job_.origin_path, job_.origin.identity};
  record.thin_id = job_.thin_id;
  record.creation_time = state.device().creation_time;
  record.transaction_id = state.device().transaction_id;
  record.pool_time = state.superblock().time;
  record.pool_transaction_id = state.superblock().transaction_id;
  record.root_choice = job_.root_choice;
  record.root_block = job_.root_block;
  record.mapping_root = state.device().mapping_root;
  record.block_size = plan.limits.block_size;
  record.logical_block_size = job_.origin.logical_block_size;
  record.thin_size = job_.thin_size;
  record.beyond_origin = options_.beyond_origin;
  record.origin_size_before = job_.origin.size;
  record.origin_size_after = std::max(job_.origin.size, plan.limits.end);
  record.plan_end = plan.limits.end;
  record.mapped_blocks = plan.summary.mapped_blocks;
  record.runs = plan.summary.runs;
  record.copy_bytes = plan.summary.copy_bytes;
  record.digest = plan.summary.digest;
  record.state_digest = plan.summary.state_digest;
  record.newest_time = plan.summary.newest_time;
  record.base = plan.base;
  record.frozen_from = frozen_from(state);
  if (job_.copy) {
    record.copy = {job_.copy->whole,
                   {job_.copy->origin_path,
                    job_.copy->identity.empty() ? job_.copy->origin.identity : job_.copy->identity},
                   job_.copy->origin.size,
                   job_.origin_state ? job_.origin_state() : 0};
  }
  record.created_at = static_cast<uint64_t>(std::time(nullptr));
  if (job_.undo_log) record.undo_log = job_.undo_log->path;
  return record;
}

}  // namespace extmerge
