// SPDX-License-Identifier: GPL-3.0-or-later

#include <set>

#include "cli/command_output.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/show/json.h"
#include "cli/source/lvm/volume_source.h"
#include "cli/source/merge_status.h"
#include "cli/source/open_source.h"
#include "cli/source/places.h"
#include "io/text.h"

namespace extmerge {

namespace {

BeyondOriginChoice recorded_beyond_origin(const JournalPlace& place) {
  const auto journal = read_journal(place);
  return journal ? journal->record().beyond_origin : BeyondOriginChoice::kRefuse;
}

// For the report: devices as they were named, or as the journal has them.
DeviceNames names_after(const Options& options, const Source& source) {
  if (!source.is_named() && options.command == Command::kMerge) {
    return {absolute_path(options.metadata),
            absolute_path(options.data),
            absolute_path(options.origin),
            {},
            {}};
  }
  DeviceNames names = names_of(source, {});
  if (const auto journal = read_journal(source.place())) {
    names.metadata = present_path(journal->record().metadata);
    names.data = present_path(journal->record().data);
    names.origin = present_path(journal->record().origin);
  }
  return names;
}

// The merge is done: if its report is lost, the error says not to merge again.
void print_merge_report(const Options& options, const MergeReport& report,
                        const DeviceNames& names) {
  try {
    print_report(options, merge_text(report, names, options.sizes),
                 options.json ? merge_json(report, names) : "");
  } catch (const Error& error) {
    throw Error(MessageId::kOutputFailed,
                std::string("the merge is complete, only its report is lost: ") + error.what(),
                "extmerge status " + shell_word(report.journal) + " shows the state of the merge");
  }
}

// The merge was found done.
void print_status_report(const Options& options, const MergeStatus& status) {
  print_report(options, status_text(status, options.sizes, {}), status_json(status, {}));
}

// A killed run had merged everything; its status is the report.
void report_cleared(const Options& options, const Source& source) {
  say("the merge of " + source.thin_name() + " into " + source.origin_name() +
      " was done; the leftovers of a killed run are removed");
  MergeStatus status = read_status(source.place().path);
  status.running = false;  // the lock is ours
  print_status_report(options, status);
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

using ConfirmPlan = std::function<bool(const PlanReport&, const DeviceNames&)>;

// One merge of what a source shows now: planned, confirmed, copied, and everything put back.
class Round {
 public:
  Round(const Options& options, Source& source, Progress& progress, Signals& signals)
      : options_(options),
        source_(source),
        progress_(progress),
        signals_(signals),
        wishes_(options.merge) {
    if (!options.finish) return;
    wishes_.last_round = true;
    if (!options.has("verify")) wishes_.verify = VerifyChoice::kFull;
  }

  // A new merge, or an unfinished one that can be resumed. Where nothing was written since the last
  // one (PlanReport::nothing_new), nothing is changed.
  MergeReport merge(const ConfirmPlan& confirmation) {
    if (!wishes_.restart && source_.must_restart()) {
      say("the thin may have changed since the merge began: the merge restarts from the beginning");
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

  // An unfinished one.
  MergeReport resume() { return carry_out(true, {}); }

 private:
  PlanReport plan_and_ask(const ConfirmPlan& confirmation) {
    Job job = source_.plan_job();
    const DeviceNames names = names_of(source_, job);
    Merger planner(std::move(job), wishes_, progress_, signals_.stop_token());
    PlanReport plan = planner.plan();
    source_.complete_plan(plan);
    source_.release_mappings();
    if (plan.has_nothing_to_merge()) return plan;
    refuse_any(plan.refusals);
    if (!options_.yes)
      said_.insert(plan.notes.begin(), plan.notes.end());  // shown with the question
    if (confirmation(plan, names)) return plan;
    throw Error(MessageId::kNotConfirmed, "not confirmed: nothing was done",
                "run it again and answer y, or give --yes");
  }

  MergeReport carry_out(bool resumes, const ConfirmPlan& confirmation) {
    try {
      if (options_.finish) source_.begin_finish();
      Job job = resumes ? source_.resume_job() : source_.merge_job();
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
      const MergeReport report = resumes ? merger.resume(say_once) : merger.merge(ask, say_once);
      if (source_.is_named()) progress_.phase = Phase::kPuttingBack;
      const bool was_written = options_.finish && !source_.is_as_merged();
      source_.done();
      if (!was_written) return report;
      throw Error(MessageId::kStale,
                  source_.thin_name() + " was written to while it was merged: it is not removed",
                  "keep it inactive, and run the same command again");
    } catch (const Error& error) {
      if (source_.is_named()) progress_.phase = Phase::kPuttingBack;
      throw source_.failed(error);
    }
  }

  const Options& options_;
  Source& source_;
  Progress& progress_;
  Signals& signals_;
  MergeOptions wishes_;
  std::set<std::string> said_;
};

// Shows the plan and asks. Returns true at once with --yes.
bool confirm(const Options& options, const PlanReport& report, const DeviceNames& names,
             ProgressDisplay& display, Signals& signals, TerminalLine& terminal) {
  if (options.yes) return true;
  display.pause();
  std::string text = plan_text(report, names, options.sizes);
  text.pop_back();
  terminal.write_line(text);
  const bool yes = ask(question(report, names, options.finish), signals.stop_token());
  display.go_on();
  return yes;
}

bool report_completed_removal(const Options& options) {
  const auto completed = complete_removal(options, options.source);
  if (!completed) return false;
  print_status_report(options, read_status(completed->journal));
  say(completed->outcome);
  return true;
}

MergeReport merge_while_shown(const Options& options, std::unique_ptr<Source>& source,
                              Signals& signals, TerminalLine& terminal, std::string& outcome) {
  Progress progress;
  ProgressDisplay display =
      show_progress(progress, options, names_before(*source), signals, terminal);
  const ConfirmPlan ask = [&](const PlanReport& found, const DeviceNames& names) {
    PlanReport shown = found;
    if (!source->is_named()) shown.notes.clear();  // the merger has said them
    return confirm(options, shown, names, display, signals, terminal);
  };
  if (options.finish && source->is_unfinished()) {
    Options first = options;  // what was begun, and then a round of its own for the rest
    first.finish = false;
    Round(first, *source, progress, signals).resume();
    source.reset();
    source = open_source(options);
  }
  const MergeReport report = Round(options, *source, progress, signals).merge(ask);
  if (!options.finish) return report;
  if (signals.stop_token().stop_requested()) {
    throw Error(MessageId::kStopped,
                "stopped as requested: " + source->thin_name() + " is merged and not removed",
                "run the same command again to remove it");
  }
  outcome = source->finish();
  return report;
}

}  // namespace

std::vector<Error> merge(const Options& options, Signals& signals, TerminalLine& terminal) {
  if (options.finish && report_completed_removal(options)) return {};
  std::unique_ptr<Source> source = open_source(options);
  if (options.finish) source->check_finish();
  const Source::Earlier earlier = source->clear_leftovers();
  if (earlier == Source::Earlier::kDoneAndGone) {
    report_cleared(options, *source);
    return {};
  }
  const bool was_done =
      earlier == Source::Earlier::kDone && !options.finish && !options.merge.again;
  MergeReport report;
  std::string outcome;
  try {
    report = merge_while_shown(options, source, signals, terminal, outcome);
  } catch (const Error& error) {
    // The killed run had merged everything. Otherwise this was another round.
    if (!was_done || error.id() != MessageId::kAlreadyDone) throw;
    report_cleared(options, *source);
    return {};
  }
  if (report.plan.nothing_new && was_done) {
    report_cleared(options, *source);
    return {};
  }
  print_merge_report(options, report, names_after(options, *source));
  const std::string last = options.finish ? outcome : source->next_steps();
  if (!last.empty()) say(last);
  return {};
}

std::vector<Error> resume(const Options& options, Signals& signals, TerminalLine& terminal) {
  const std::unique_ptr<Source> source = open_source(options);
  if (source->clear_leftovers() != Source::Earlier::kNotDone) {
    report_cleared(options, *source);
    return {};
  }
  MergeReport report;
  {
    Progress progress;
    const ProgressDisplay display =
        show_progress(progress, options, names_before(*source), signals, terminal);
    report = Round(options, *source, progress, signals).resume();
  }
  print_merge_report(options, report, names_after(options, *source));
  if (const std::string steps = source->next_steps(); !steps.empty()) say(steps);
  return {};
}

}  // namespace extmerge
