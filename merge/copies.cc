// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan of a copy has runs of its own, and may start from the journal of another target.

#include <algorithm>

#include "merge/journal/sample.h"
#include "merge/merge.h"

namespace extmerge {

// An unfinished copy goes on from its own journal, with the base that it was begun with.
const Journal* Merger::base_journal(const Journal* last) const {
  return starts_from_other(last) ? job_.since : last;
}

PlanSummary Merger::sum_up_copy(State& state, const PlanLimits& limits, const Journal* last,
                                const RunListener& each_run) {
  const std::unique_ptr<CopyRuns> runs = copy_runs_of(state, limits, last);
  for (Run run; runs->next(run);) {
    if (each_run && run.content != RunContent::kHeld) each_run(run);
    if (run.is_mapped()) progress_.mappings_read += run.blocks;
  }
  return runs->summary();
}

std::unique_ptr<RunSource> Merger::runs_of(State& state, const PlanLimits& limits,
                                           const Journal* last,
                                           std::function<void(const Mapping&)> left_out) const {
  if (job_.copy) return copy_runs_of(state, limits, last, std::move(left_out));
  return std::make_unique<PlannedRuns>(state.reader(), state.device(), state.end_of_data(), limits,
                                       stop_, BeyondOrigin(), std::move(left_out));
}

std::unique_ptr<CopyRuns> Merger::copy_runs_of(State& state, const PlanLimits& limits,
                                               const Journal* last,
                                               std::function<void(const Mapping&)> left_out) const {
  const Journal* const base = base_journal(last);
  std::unique_ptr<RunSource> runs;
  if (base && base->record().is_copy()) {
    if (base->record().block_size == limits.block_size) {
      runs = base->all_runs();
    } else if (!job_.copy->whole) {
      throw Error(MessageId::kForeignJournal,
                  base->path() + " is of a copy from a pool with blocks of another size",
                  "copy everything that the thin shows (--whole), or name another target");
    }
  }
  // Nobody knows which runs of an unfinished copy the target has, so all count.
  const bool is_done = base && base->state() == JournalState::kDone;
  return std::make_unique<CopyRuns>(
      state.reader(), state.device(), state.end_of_data(),
      CopyLimits{limits, job_.copy->origin.size, job_.copy->whole}, std::move(runs),
      is_done ? CopyRuns::Base::kState : CopyRuns::Base::kWritten, stop_, std::move(left_out));
}

// Samples spread evenly over the blocks that are neither mapped nor to be copied, and over the
// mapped ones that the target has already.
void Merger::refuse_other_contents(State& state, BlockDevice& target, const MergeRecord& wanted,
                                   const Journal* last) const {
  constexpr uint64_t kPlaces = 64;
  const Bytes length_of_place = std::max(Bytes(4096), target.logical_block_size());
  const PlanLimits limits = wanted.limits();
  const uint64_t end = limits.block_size.blocks_holding(limits.end);
  const uint64_t left_out = end - limits.block_size.blocks_holding(wanted.copy_bytes);
  const uint64_t count = std::min(left_out, kPlaces);
  std::vector<Extent> places;
  uint64_t passed = 0;  // blocks that are left out before `run`
  const auto take_from = [&](const Run& run) {
    while (places.size() < count && places.size() * left_out / count < passed + run.blocks) {
      const uint64_t into = places.size() * left_out / count - passed;
      Extent place = to_extent({run.thin + into, run.data + into, 1, run.content}, limits);
      place.length = std::min(place.length, length_of_place);
      places.push_back(place);
    }
    passed += run.blocks;
  };
  const auto take_gap = [&](uint64_t from, uint64_t to) {
    if (from < to) take_from({ThinBlock(from), DataBlock(from), to - from, RunContent::kUnmapped});
  };
  const std::unique_ptr<RunSource> runs = runs_of(state, limits, last);
  uint64_t next = 0;
  for (Run run; runs->next(run); next = (run.thin + run.blocks).value()) {
    take_gap(next, run.thin.value());
    if (run.content != RunContent::kHeld) continue;
    run.content = RunContent::kPoolData;
    take_from(run);
  }
  take_gap(next, end);
  const auto difference = compare_places(places, state.data(), target);
  if (!difference) return;
  throw Error(MessageId::kOriginChanged,
              "the target " + job_.origin.path + " does not hold at byte " +
                  std::to_string(difference->value()) +
                  " what the copy leaves out because it should be there already",
              starts_from_other(last)
                  ? "make the target a copy of that state first, as the copy of " +
                        job_.since->path() +
                        " left it; or copy everything that the thin shows: "
                        "--whole, without --since"
              : job_.copy->whole
                  ? "copy everything once more: the same command with --again"
                  : "copy everything that the thin shows: the same command with --whole; or make "
                    "the target a copy of the external origin first, without a journal of its own");
}

void Merger::refuse_changed_origin(const Journal& journal) const {
  if (!job_.copy || !job_.origin_state) return;
  if (journal.record().copy->origin_state == job_.origin_state()) return;
  throw Error(MessageId::kStale,
              "the external origin " + job_.copy->origin_path +
                  " was merged into, or written to, during the copy",
              "copy everything that the thin shows, once nothing writes to the origin: extmerge "
              "copy --whole --restart");
}

}  // namespace extmerge
