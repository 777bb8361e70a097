// SPDX-License-Identifier: GPL-3.0-or-later
//
// A map of the contents of the whole thin, for programs that copy or back it up themselves.

#include "merge/merge.h"

namespace extmerge {

namespace {

Error no_base_for_map(const std::string& reason) {
  return no_base("--since", reason, "write a map of everything: the same command without --since");
}

}  // namespace

ContentLimits Merger::content_limits(State& state, const ContentsBase& base,
                                     std::vector<std::string>& notes) {
  if (!job_.thin_size) {
    throw Error(MessageId::kUsage, "a map needs the thin's size, which the metadata does not hold",
                "add --thin-size SIZE (blockdev --getsize64 of the thin, dmsetup table)");
  }
  ContentLimits limits;
  limits.mapped = {state.superblock().data_block_size, *job_.thin_size, job_.thin_size};
  limits.origin_end = job_.origin.size;
  if (base.is_origin) limits.unmapped_held_end = limits.origin_end;
  if (!base.journal) return limits;

  Journal& journal = *base.journal;
  if (journal.state() == JournalState::kCopying) {
    throw no_base_for_map("the " + journal.record().deed() + " in " + journal.path() +
                          " is unfinished");
  }
  MergeRecord wanted = record_of(state, begin_report(state));
  if (journal.record().is_copy()) {
    wanted.plan_end = limits.mapped.end;
    wanted.copy = {journal.record().copy->whole,
                   {job_.origin_path, job_.origin.identity},
                   job_.origin.size,
                   job_.origin_state ? job_.origin_state() : 0};
  }
  const BaseDecision decision =
      choose_base(&journal, wanted, &state.device(),
                  {.choice = RoundChoice::kSince, .of_other_target = wanted.is_copy()});
  if (!decision.base) throw no_base_for_map(decision.full_reason);
  limits.mapped.since = decision.base->time;
  limits.mapped.held_end = decision.base->end;
  if (wanted.is_copy()) return limits;
  // The earlier merge has copied its blocks to the origin. So a block without a mapping shows the
  // same bytes as then, whether it was mapped then or not.
  const auto origin = open_readable_origin();
  if (!origin) {
    notes.push_back("the origin " + job_.origin_path +
                    " is inactive: extmerge did not check whether it was written to since that "
                    "merge");
  } else if (!is_as_merged(journal, *origin)) {
    throw no_base_for_map("the origin " + job_.origin_path + " was written to since that merge");
  }
  limits.unmapped_held_end = decision.base->end;
  return limits;
}

ContentsReport Merger::list_contents(
    const ContentsBase& base, const std::function<ContentListener(const ContentsReport&)>& begin) {
  refuse_unfit_devices(Purpose::kVerify);
  State state(job_);
  PlanFacts facts;
  facts.needs_check = state.needs_check();
  const State::Freshness freshness = freshness_of(state);
  facts.device_changed = freshness == State::Freshness::kChanged;
  refuse_any(
      refuse_plan(facts, job_, BeyondOriginChoice::kDrop, options_.overrides, Purpose::kVerify));
  if (freshness == State::Freshness::kBusy && !options_.overrides.allow_stale) throw state.busy();

  ContentsReport report;
  report.thin_id = job_.thin_id;
  report.limits = content_limits(state, base, report.notes);
  if (freshness == State::Freshness::kUnknown) {
    report.notes.push_back(
        "the pool's metadata cannot be read as it is now, so it is not known whether the thin was "
        "written to since its mappings were held");
  }
  std::optional<HeldMappings> held;
  if (base.journal) held.emplace(*base.journal);
  const auto walk = [&](const ContentListener& listener, bool first) {
    const auto left_out = held && first ? [&](const Mapping& mapping) { held->check(mapping); }
                                        : std::function<void(const Mapping&)>();
    if (!base.journal || !base.journal->record().is_copy()) {
      return walk_contents(state.reader(), state.device(), state.end_of_data(), report.limits,
                           listener, stop_, left_out);
    }
    CopyRuns runs(state.reader(), state.device(), state.end_of_data(),
                  {report.limits.mapped, report.limits.origin_end, true}, base.journal->all_runs(),
                  CopyRuns::Base::kState, stop_, left_out);
    walk_contents(runs, report.limits, listener);
  };
  walk(
      [&](const ContentRange& range) {
        report.bytes[static_cast<size_t>(range.content)] += range.length;
        ++report.ranges;
        report.ends_the_same = range.content == Content::kSame;
      },
      true);
  walk(begin(report), false);
  state.check_still_held();
  return report;
}

}  // namespace extmerge
