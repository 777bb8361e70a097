// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan of a copy has runs of its own, and may start from the journal of another target.

#include <algorithm>

#include "merge/journal/sample.h"
#include "merge/merge.h"

namespace extmerge {

// An unfinished copy goes on from its own journal, with the base that it was begun with.
const Journal* Merger::base_journal(const Journal* last) const {
  return job_.since && !last ? job_.since : last;
}

PlanSummary Merger::sum_up_copy(State& state, const PlanLimits& limits, const Journal* last,
                                const RunListener& each_run) {
  const std::unique_ptr<CopyRuns> runs = copy_runs_of(state, limits, last);
  for (Run run; runs->next(run);) {
    if (each_run && run.content != RunContent::kHeld) each_run(run);
    if (run.content == RunContent::kPoolData || run.content == RunContent::kHeld)
      progress_.mappings_read += run.blocks;
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
void Merger::refuse_other_contents(State& state, BlockDevice& target, const PlanLimits& limits,
                                   const Journal* last) const {
  constexpr uint64_t kPlaces = 64;
  constexpr Bytes kLength(4096);
  const uint64_t end = limits.block_size.blocks_holding(limits.end);
  // Calls `each` for all runs that the plan leaves out.
  const auto for_each_left_out = [&](const std::function<void(const Run&)>& each) {
    const std::unique_ptr<RunSource> runs = runs_of(state, limits, last);
    uint64_t next = 0;
    const auto gap_up_to = [&](uint64_t block) {
      if (next < block)
        each({ThinBlock(next), DataBlock(next), block - next, RunContent::kUnmapped});
    };
    for (Run run; runs->next(run); next = (run.thin + run.blocks).value()) {
      gap_up_to(run.thin.value());
      if (run.content == RunContent::kHeld) {
        run.content = RunContent::kPoolData;
        each(run);
      }
    }
    gap_up_to(end);
  };
  uint64_t left_out = 0;
  for_each_left_out([&](const Run& run) { left_out += run.blocks; });
  std::vector<Extent> places;
  uint64_t passed = 0, place = 0;
  const uint64_t count = std::min(left_out, kPlaces);
  for_each_left_out([&](const Run& run) {
    for (; place < count && place * left_out / count < passed + run.blocks; ++place) {
      Run one = run;
      const uint64_t into = place * left_out / count - passed;
      one.thin = run.thin + into;
      one.data = run.data + into;
      one.blocks = 1;
      Extent extent = to_extent(one, limits);
      extent.length = std::min(extent.length, kLength);
      places.push_back(extent);
    }
    passed += run.blocks;
  });
  const auto difference = compare_places(places, state.data(), target);
  if (!difference) return;
  throw Error(MessageId::kOriginChanged,
              "the target " + job_.origin.path + " does not hold at byte " +
                  std::to_string(difference->value()) +
                  " what the copy leaves out because it should be there already",
              "copy everything that the thin shows: the same command with --whole; or make the "
              "target a copy of the external origin first, without a journal of its own");
}

void Merger::refuse_changed_origin(const Journal& journal) const {
  if (!job_.copy || !job_.copy->state) return;
  if (journal.record().copy->origin_state == job_.copy->state()) return;
  throw Error(MessageId::kStale,
              "the external origin " + job_.copy->origin_path +
                  " was merged into, or written to, during the copy",
              "copy everything that the thin shows, once nothing writes to the origin: extmerge "
              "copy --whole --restart");
}

}  // namespace extmerge
