// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/round.h"

#include "cli/command_output.h"
#include "cli/source/merge_status.h"
#include "cli/source/places.h"

namespace extmerge {

namespace {

BeyondOriginChoice recorded_beyond_origin(const JournalPlace& place) {
  const auto journal = read_journal(place);
  return journal ? journal->record().beyond_origin : BeyondOriginChoice::kRefuse;
}

// The merge that was done before, as one that had nothing to copy.
MergeReport report_of_nothing(const Source& source, const PlanReport& plan) {
  const MergeStatus status = read_status(source.place().path);
  MergeReport report;
  report.plan = plan;
  report.journal = status.journal;
  report.undo_log = status.record.undo_log;
  report.state = status.state;
  report.total_bytes = status.record.copy_bytes;
  report.durable_bytes = status.progress.position;
  return report;
}

}  // namespace

Round::Round(const Options& options, Source& source, Progress& progress, Signals& signals)
    : options_(options),
      source_(source),
      progress_(progress),
      signals_(signals),
      wishes_(options.merge) {
  if (options.command == Command::kCopy && !options.since.empty()) {
    since_ = existing_journal(options.since, signals.stop_token());
  }
  if (!options.ends_use()) return;
  wishes_.last_round = true;
  if (!options.has("verify")) wishes_.verify = VerifyChoice::kFull;
}

MergeReport Round::merge(const ConfirmPlan& confirmation) {
  if (!wishes_.restart && source_.must_restart()) {
    const std::string deed = options_.copies() ? "copy" : "merge";
    say("the thin may have changed since the " + deed + " began: the " + deed +
        " restarts from the beginning");
    wishes_.restart = true;
  }
  const bool resumes = source_.is_unfinished() && !wishes_.restart;
  // A named source changes the system for a merge, so it is planned and asked for first.
  if (source_.is_named()) {
    const PlanReport plan = plan_and_ask(confirmation);
    if (plan.has_nothing_to_merge()) return report_of_nothing(source_, plan);
    wishes_.full_reason = plan.full_reason;  // the freeze hides what speaks against a round
    return carry_out(resumes, {});
  }
  return carry_out(resumes, confirmation);
}

PlanReport Round::plan_and_ask(const ConfirmPlan& confirmation) {
  Job job = source_.plan_job();
  job.since = since_.get();
  const DeviceNames names = names_of(source_, job);
  Merger planner(std::move(job), wishes_, progress_, signals_.stop_token());
  PlanReport plan = planner.plan();
  source_.complete_plan(plan);
  older_ = plan.older;
  source_.release_mappings();
  if (plan.has_nothing_to_merge()) return plan;
  refuse_any(plan.refusals);
  if (!options_.yes) said_.insert(plan.notes.begin(), plan.notes.end());  // shown with the question
  if (confirmation(plan, names)) return plan;
  throw Error(MessageId::kNotConfirmed, "not confirmed: nothing was done",
              "run it again and answer y, or give --yes");
}

MergeReport Round::carry_out(bool resumes, const ConfirmPlan& confirmation) {
  try {
    if (options_.ends_use()) source_.begin_finish();
    Job job = resumes ? source_.resume_job() : source_.merge_job();
    job.since = since_.get();
    if (resumes) wishes_.beyond_origin = recorded_beyond_origin(source_.place());
    if (resumes) wishes_.full_reason.clear();
    if (!source_.is_frozen()) wishes_.verify = VerifyChoice::kFull;
    const DeviceNames names = names_of(source_, job);
    const Confirm ask = [&](const PlanReport& found) {
      return !confirmation || confirmation(found, names);
    };
    const Notice say_once = [this](const std::string& note) {
      if (said_.insert(note).second) say(note);
    };
    Merger merger(std::move(job), wishes_, progress_, signals_.stop_token());
    MergeReport report = resumes ? merger.resume(say_once) : merger.merge(ask, say_once);
    if (source_.is_named()) progress_.phase = Phase::kPuttingBack;
    report.plan.older = older_;
    source_.describe_chain(report.plan);
    const bool was_written = options_.ends_use() && !source_.is_as_merged();
    source_.done();
    if (report.plan.has_nothing_to_merge()) return report_of_nothing(source_, report.plan);
    if (!was_written) return report;
    throw Error(MessageId::kStale,
                source_.thin_name() + " was written to while it was " +
                    (options_.copies() ? "copied" : "merged: it is not removed"),
                "keep it inactive, and run the same command again");
  } catch (const Error& error) {
    if (source_.is_named()) progress_.phase = Phase::kPuttingBack;
    throw source_.failed(error);
  }
}

void refuse_end_after_stop(const Options& options, const Source& source, const Signals& signals) {
  if (!signals.stop_token().stop_requested()) return;
  throw Error(
      MessageId::kStopped,
      "stopped as requested: " + source.thin_name() +
          (options.copies() ? " is copied, and stays as it was" : " is merged and not removed"),
      options.copies() ? "run the same command again to take it out of use"
                       : "run the same command again to remove it");
}

}  // namespace extmerge
