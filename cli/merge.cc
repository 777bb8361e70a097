// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/command_output.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/round.h"
#include "cli/show/json.h"
#include "cli/source/lvm/volume_source.h"
#include "cli/source/merge_status.h"
#include "cli/source/open_source.h"
#include "cli/source/places.h"
#include "cli/when_closed.h"
#include "io/text.h"

namespace extmerge {

namespace {

// For the report: devices as they were named, or as the journal has them.
DeviceNames names_after(const Options& options, const Source& source) {
  if (!source.is_named() && options.command != Command::kResume) {
    return {absolute_path(options.metadata),
            absolute_path(options.data),
            absolute_path(options.origin),
            options.copies() ? target_path(options.target) : "",
            {},
            {}};
  }
  DeviceNames names = names_of(source, {});
  if (const auto journal = read_journal(source.place())) {
    names.metadata = present_path(journal->record().metadata);
    names.data = present_path(journal->record().data);
    names.origin = present_path(journal->record().origin);
    if (const auto& copy = journal->record().copy) {
      names.target = std::exchange(names.origin, present_path(copy->origin));
    }
  }
  return names;
}

// The merge is done: if its report is lost, the error says not to merge again.
void print_merge_report(const Options& options, const MergeReport& report,
                        const DeviceNames& names) {
  const std::string deed = report.plan.is_copy ? "copy" : "merge";
  try {
    print_report(options, merge_text(report, names, options.sizes),
                 options.json ? merge_json(report, names) : "");
  } catch (const Error& error) {
    throw Error(
        MessageId::kOutputFailed,
        "the " + deed + " is complete, only its report is lost: " + error.what(),
        "extmerge status " + shell_word(report.journal) + " shows the state of the " + deed);
  }
}

// The merge was found done.
void print_status_report(const Options& options, const MergeStatus& status) {
  print_report(options, status_text(status, options.sizes, {}), status_json(status, {}));
}

// A killed run had merged everything; its status is the report.
void report_cleared(const Options& options, const Source& source) {
  say((options.copies() ? "the copy of " + source.thin_name()
                        : "the merge of " + source.thin_name() + " into " + source.origin_name()) +
      " was done; the leftovers of a killed run are removed");
  MergeStatus status = read_status(source.place().path);
  status.running = false;  // the lock is ours
  print_status_report(options, status);
}

// Shows the plan and asks. Returns true at once with --yes.
bool confirm(const Options& options, const PlanReport& report, const DeviceNames& names,
             ProgressDisplay& display, Signals& signals, TerminalLine& terminal) {
  if (options.yes) return true;
  display.pause();
  std::string text = plan_text(report, names, options.sizes);
  text.pop_back();
  terminal.write_line(text);
  const bool yes = ask(question(report, names, options.ends_use()), signals.stop_token());
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
  if (options.ends_use() && source->is_unfinished() && !options.merge.restart) {
    Options first = options;  // what was begun, and then a round of its own for the rest
    first.finish = first.when_closed = false;
    Round round(first, *source, progress, signals);
    // The merge that was begun may give up none of these volumes, and nobody was asked then.
    if (options.with.empty()) {
      round.resume();
    } else {
      round.merge(ask);
    }
    source.reset();
    source = open_source(options);
  }
  if (options.when_closed && source->is_open()) {
    return finish_when_closed(options, *source, progress, signals, ask, outcome);
  }
  const MergeReport report = Round(options, *source, progress, signals).merge(ask);
  if (!options.ends_use()) return report;
  refuse_end_after_stop(options, *source, signals);
  outcome = source->finish();
  return report;
}

}  // namespace

std::vector<Error> merge(const Options& asked, Signals& signals, TerminalLine& terminal) {
  if (asked.finish && report_completed_removal(asked)) return {};
  Options options = asked;  // outlives the source, which refers to it
  std::unique_ptr<Source> source = open_source(options);
  // The same command once more, after a stop or a kill: the target has a state of its own by now.
  if (options.when_closed && read_journal(source->place())) options.since.clear();
  if (options.ends_use()) source->check_finish(options.when_closed);
  const Source::Earlier earlier = source->clear_leftovers();
  if (earlier == Source::Earlier::kDoneAndGone) {
    report_cleared(options, *source);
    return {};
  }
  const bool was_done =
      earlier == Source::Earlier::kDone && !options.ends_use() && !options.merge.again;
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
  const std::string last = options.ends_use() ? outcome : source->next_steps();
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
