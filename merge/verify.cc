// SPDX-License-Identifier: GPL-3.0-or-later
//
// Checks that the origin holds what the snapshot shows. A merge also checks, before DONE, that
// thin, origin and siblings are unchanged since the plan.

#include <algorithm>

#include "io/compare.h"
#include "io/text.h"
#include "merge/journal/sample.h"
#include "merge/merge.h"

namespace extmerge {

namespace {

Error changed_source(const MergeRecord& record) {
  return Error(MessageId::kStale,
               thin_id_text(record.thin_id) + " was written to during the " + record.deed() +
                   ": the copy may mix old and new data",
               "stop writing to the thin, reserve a new metadata snapshot and " + record.deed() +
                   " with --restart");
}

bool is_refusal_to_reserve(MessageId id) {
  return id == MessageId::kMetadataSnapshotHeld || id == MessageId::kUnfitPool ||
         id == MessageId::kNeedsCheck || id == MessageId::kPoolFull;
}

}  // namespace

Error newly_harmed(const Sibling& sibling) {
  const std::string name = sibling.name.empty() ? thin_id_text(sibling.id) : sibling.name;
  return Error(MessageId::kSharedOrigin,
               name + " discarded " + plural(sibling.harmed_blocks, "block") +
                   " during the merge and shows the changed origin there",
               "remove it, or accept that it changed with --allow-shared-origin");
}

VerifyReport Merger::verify() {
  // Do not grow the origin: data missing past its end counts as a difference.
  if (options_.beyond_origin == BeyondOriginChoice::kExtend) {
    options_.beyond_origin = BeyondOriginChoice::kRefuse;
  }
  refuse_unfit_devices(Purpose::kVerify);
  State state(job_);
  VerifyReport report;
  report.plan = make_plan(state, Purpose::kVerify, {});
  refuse_any(report.plan.refusals);

  const PlanLimits& limits = report.plan.limits;
  const auto origin =
      job_.custody->open(job_.origin, OpenMode::kReadOnly, alignment_of(limits.end));
  // Blocks that copies had to put back are compared, too.
  const std::unique_ptr<Journal> last =
      job_.copy && job_.journal.directory ? open_journal(false) : nullptr;
  const std::unique_ptr<RunSource> runs = runs_of(state, limits, last.get());
  ExtentSource extents(*runs, limits);
  progress_.total_bytes = report.plan.summary.copy_bytes.value();
  progress_.done_bytes = 0;
  progress_.phase = Phase::kVerifying;
  const auto started = std::chrono::steady_clock::now();
  report.result =
      compare_extents({state.data(), *origin, extents, {}}, options_.pipeline, progress_, stop_);
  state.check_still_held();
  progress_.phase = Phase::kFinished;
  report.seconds = seconds_since(started);
  return report;
}

std::optional<Bytes> Merger::find_difference(Journal& journal, State& state, BlockDevice& origin,
                                             Bytes end, bool in_full) {
  if (!in_full) {
    const Bytes piece = job_.origin.is_export ? Bytes(kCompareUnit) : kSamplePiece;
    return compare_sample(journal, state.data(), origin, end, piece);
  }
  const std::unique_ptr<RunSource> runs = journal.all_runs();
  // Only a forged position ends inside a block.
  const uint64_t block = alignment_of(origin.size()).value();
  const bool is_all = end == journal.record().copy_bytes;
  ExtentSource extents(*runs, journal.record().limits(), Bytes(0),
                       is_all ? end : Bytes(end.value() / block * block));
  return compare_all(extents, end, state, origin);
}

std::optional<Bytes> Merger::compare_all(ExtentSource& extents, Bytes bytes, State& state,
                                         BlockDevice& origin) {
  progress_.total_bytes = bytes.value();
  progress_.done_bytes = 0;
  progress_.phase = Phase::kVerifying;
  return compare_extents({state.data(), origin, extents, {}, watch()}, options_.pipeline, progress_,
                         stop_)
      .first_difference;
}

// A round's plan is a part of the state. To compare everything, the other runs are needed, too.
std::unique_ptr<PlanSpool> Merger::spool_everything(State& state, const Journal& journal,
                                                    const MergeRecord& wanted) const {
  if (options_.verify != VerifyChoice::kFull || !journal.record().is_round()) return nullptr;
  // An old plan is finished (--allow-stale), and its state can no longer be read.
  if (journal.record().state_digest != wanted.state_digest) return nullptr;
  const PlanLimits limits = journal.record().limits().of_everything();
  const std::unique_ptr<RunSource> runs = runs_of(state, limits, &journal);
  // The journal is in place, so NAME.new is free. A kill may leave that file empty. Then the next
  // merge removes it, like an unpublished journal.
  Journal::discard_unpublished(*job_.journal.directory, job_.journal.name);
  auto spool = std::make_unique<PlanSpool>(*job_.journal.directory,
                                           unpublished_name(job_.journal.name), *runs, limits);
  state.check_still_held();
  return spool;
}

Verified Merger::verify_merged(Journal& journal, State& state, BlockDevice& origin,
                               const PlanSpool* everything, bool goes_on) {
  if (options_.verify == VerifyChoice::kNone) return Verified::kNothing;
  std::optional<Bytes> difference;
  const bool in_full = options_.verify != VerifyChoice::kSample;
  if (everything) {
    const std::unique_ptr<RunSource> runs = everything->runs();
    ExtentSource extents(*runs, everything->limits());
    difference = compare_all(extents, everything->bytes(), state, origin);
  } else {
    difference = find_difference(journal, state, origin, journal.record().copy_bytes, in_full);
  }
  const std::optional<Base>& base = journal.record().base;
  if (!difference) {
    const Verified own = in_full ? Verified::kEverything : Verified::kSample;
    if (everything || !base) return own;
    // The run before may have found a difference in a block of an earlier round.
    return std::min({own, base->verified, goes_on ? Verified::kSample : Verified::kEverything});
  }
  // The journal claims too much: set its position to 0, so that the next run copies everything
  // again. The undo log's saved bytes stay.
  JournalProgress nothing;
  nothing.undo_log_bytes = journal.progress().undo_log_bytes;
  journal.record_progress(nothing);
  throw Error(
      MessageId::kDiffers,
      "the " + job_.role() + " " + job_.origin.path + " differs from the snapshot at byte " +
          std::to_string(difference->value()) + " after the " + job_.deed(),
      "something else writes to the " + job_.role() +
          " or to the snapshot's data, or a device loses "
          "writes; stop that and " +
          job_.deed() +
          (base ? " everything: the same command with --restart and --verify=full"
                : " again: the same command with --verify=full restarts from the beginning"));
}

void Merger::refuse_new_users(const PlanReport& plan) {
  const std::string identity = job_.origin.identity;
  job_.custody->look_again(job_);
  if (job_.origin.identity != identity) {
    throw Error(MessageId::kPathChanged,
                job_.origin.path + " is no longer the " + job_.role() + " that was planned for",
                "make sure that nothing renames devices, and run the command again");
  }
  for (const OriginUser& user : job_.origin_users.value_or(std::vector<OriginUser>{})) {
    if (!job_.is_sibling(user) || options_.overrides.allow_shared_origin) continue;
    const bool planned_for = std::ranges::any_of(plan.siblings, [&](const Sibling& sibling) {
      return sibling.id == user.id && sibling.name == user.name && sibling.pool == user.pool;
    });
    if (planned_for) continue;
    throw Error(
        MessageId::kSharedOrigin,
        user.name + " began to read the origin " + job_.origin.path + " after the plan was made",
        "remove that thin, or run the same command again to see whether it would change");
  }
  PlanFacts facts;
  facts.siblings = plan.siblings;
  for (const Refusal& refusal :
       {check_not_mounted(job_.origin, job_.role()), check_not_swap(job_.origin, job_.role()),
        check_writable(job_.origin, job_.role()), check_holders(facts, job_, options_.overrides)}) {
    if (refusal) throw *refusal;
  }
}

void Merger::refuse_changes_meanwhile(State& state, Journal& journal, const MergeRecord& merged,
                                      const PlanReport& plan) {
  // The questions take LVM seconds. A command over files has nothing to put back.
  if (job_.custody->owns_mappings()) progress_.phase = Phase::kPuttingBack;
  refuse_new_users(plan);
  refuse_changed_pool(state, journal, merged, plan);
  refuse_harmed_elsewhere(journal, plan);
  refuse_changed_origin(journal);
}

void Merger::refuse_changed_pool(State& state, Journal& journal, const MergeRecord& merged,
                                 const PlanReport& plan) {
  if (!job_.custody->owns_mappings()) {
    if (!options_.overrides.allow_stale) state.check_still_held();
    return refuse_changed_source(state, merged, plan);
  }
  const std::vector<Sibling> siblings = siblings_to_ask_again(plan);
  if (options_.overrides.allow_stale && siblings.empty()) return;
  try {
    job_.custody->reserve_mappings();
  } catch (const Error& error) {
    // Another program has reserved one since, or the pool takes none any more. The live tree tells
    // of the thin, not of its siblings.
    if (!is_refusal_to_reserve(error.id()) || !siblings.empty()) throw;
    return refuse_changed_source(state, merged, plan);
  }
  const std::unique_ptr<State> now = state_again(merged);
  for (const Sibling& sibling : siblings) refuse_newly_harmed(sibling, *now, journal);
  now->check_still_held();
  job_.custody->release_mappings();
}

// The state in a new metadata snapshot. Throws kStale unless the thin is unchanged.
std::unique_ptr<State> Merger::state_again(const MergeRecord& record) const {
  std::unique_ptr<State> now;
  try {
    now = std::make_unique<State>(job_);
  } catch (const Error& error) {
    if (options_.overrides.allow_stale || error.id() != MessageId::kThinIdAbsent) throw;
    throw changed_source(record);
  }
  const ThinDevice& device = now->device();
  const bool is_same = device.mapping_root == record.mapping_root &&
                       device.creation_time == record.creation_time &&
                       device.transaction_id == record.transaction_id;
  if (!is_same && !options_.overrides.allow_stale) throw changed_source(record);
  return now;
}

// The siblings in this pool that read the origin.
std::vector<Sibling> Merger::siblings_to_ask_again(const PlanReport& plan) const {
  if (options_.overrides.allow_shared_origin) return {};
  std::vector<Sibling> siblings = plan.siblings;
  std::erase_if(siblings, [&](const Sibling& sibling) {
    return !sibling.pool.empty() || (!sibling.certain && !job_.is_active(sibling.id));
  });
  return siblings;
}

// A sibling that mapped all planned blocks may have discarded some. There it shows the origin, half
// merged.
void Merger::refuse_newly_harmed(const Sibling& sibling, State& now, Journal& journal) {
  const ThinDevice* const device = now.device_of(sibling.id);
  if (!device) return;  // removed during the merge
  const uint64_t harmed = count_unmapped(*journal.all_runs(), now.reader(), device->mapping_root,
                                         now.end_of_data(), stop_);
  if (harmed == 0) return;
  Sibling found = sibling;
  found.harmed_blocks = harmed;
  throw newly_harmed(found);
}

// Asks the live tree, which a busy pool changes all the time.
void Merger::refuse_changed_source(State& state, const MergeRecord& record,
                                   const PlanReport& plan) const {
  if (options_.overrides.allow_stale) return;
  const State::Freshness freshness = state.compare_with_live(record.mapping_root);
  if (freshness == State::Freshness::kSame) return;
  if (freshness == State::Freshness::kBusy) throw state.busy();
  if (freshness == State::Freshness::kChanged) throw changed_source(record);
  if (plan.live_tree_unreadable) return;
  throw Error(MessageId::kStale,
              "the pool's metadata can no longer be read, so it is not known whether " +
                  thin_id_text(record.thin_id) + " was written to during the " + job_.deed(),
              "stop writing to the thin, reserve a new metadata snapshot and " + job_.deed() +
                  " with --restart");
}

}  // namespace extmerge
