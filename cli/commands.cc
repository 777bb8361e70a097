// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/commands.h"

#include <spdlog/spdlog.h>

#include "cli/command_output.h"
#include "cli/confirm.h"
#include "cli/show/json.h"
#include "cli/show/output.h"
#include "cli/source/open_source.h"
#include "cli/source/places.h"
#include "io/text.h"

namespace extmerge {

namespace {

std::vector<Error> plan(const Options& options, Signals& signals, TerminalLine& terminal) {
  if (options.exported) return export_map(options, signals, terminal);
  const std::unique_ptr<OutputFile> map = map_file(options);
  std::unique_ptr<Source> source = open_held_source(options);
  if (options.ends_use()) source->check_finish(options.when_closed);
  Job job = source->plan_job();
  std::unique_ptr<Journal> since;
  if (!options.since.empty()) since = existing_journal(options.since, signals.stop_token());
  job.since = since.get();
  const DeviceNames names = names_of(*source, job);
  Progress progress;
  PlanReport report;
  {
    const ProgressDisplay display = show_progress(progress, options, names, signals, terminal);
    MergeOptions wishes = options.merge;
    wishes.last_round = options.ends_use();
    if (!wishes.restart) wishes.restart = source->must_restart();
    Merger merger(std::move(job), wishes, progress, signals.stop_token());
    RunListener each_run;
    if (options.ranges) {
      if (options.headings) print(ranges_heading());
      each_run = [](const Run& run) { print(ranges_line(run)); };
    }
    report = merger.plan(each_run);
  }
  source->complete_plan(report);
  const bool may_be_done = source->is_named() || options.merge.round == RoundChoice::kSince;
  if (may_be_done && report.has_nothing_to_merge()) report.refusals.clear();
  release_source(source);
  // The picture comes first: if it fails, no report stands before the JSON of the error.
  if (map && options.map != "-") draw_map(options, *map, picture_of(report, names, options.sizes));
  if (options.ranges) {
    for (const std::string& note : report.notes) spdlog::warn("{}", printable(note));
    flush_output();
  } else {
    // Make only the report that is printed: each may have a line per thin, for 100,000 thins.
    print_report(options,
                 options.json ? "" : plan_text(report, names, options.sizes, options.verbosity > 0),
                 options.json ? plan_json(report, names) : "");
  }
  if (options.map == "-") draw_map(options, *map, picture_of(report, names, options.sizes));
  return report.refusals;
}

// Check this first, before any device is read or any file is made.
void check_can_ask(const Options& options) {
  if (options.yes || can_ask()) return;
  throw Error(MessageId::kNotConfirmed,
              "not confirmed: there is no terminal to ask on, and nothing was done",
              "see what would be done with extmerge plan, then give --yes");
}

std::vector<Error> undo(const Options& options, Signals& signals, TerminalLine& terminal) {
  check_can_ask(options);
  const std::unique_ptr<Source> source = open_source(options);
  source->clear_leftovers();
  Progress progress;
  UndoReport report;
  try {
    ProgressDisplay display =
        show_progress(progress, options, names_before(*source), signals, terminal);
    Merger merger(source->undo_job(), options.merge, progress, signals.stop_token());
    const ConfirmUndo confirm = [&](const UndoReport& found) {
      if (options.yes) return true;
      display.pause();
      const bool yes = ask("Put back " + format_size(found.saved_bytes, options.sizes) + " of " +
                               printable(found.origin) + " as they were before the " +
                               (found.is_copy ? "copy" : "merge") + "? [y/N] ",
                           signals.stop_token());
      display.go_on();
      return yes;
    };
    report = merger.undo(confirm, say);
    if (source->is_named()) progress.phase = Phase::kPuttingBack;
    source->undone();
  } catch (const Error& error) {
    throw source->failed(error);
  }
  if (!report.is_copy) report.origin = source->origin_name();
  print_report(options, undo_text(report, options.sizes), undo_json(report));
  return {};
}

std::vector<Error> verify(const Options& options, Signals& signals, TerminalLine& terminal) {
  std::unique_ptr<Source> source = open_held_source(options);
  Job job = source->verify_job();
  const DeviceNames names = names_of(*source, job);
  Progress progress;
  VerifyReport report;
  {
    const ProgressDisplay display = show_progress(progress, options, names, signals, terminal);
    Merger merger(std::move(job), options.merge, progress, signals.stop_token());
    report = merger.verify();
  }
  source->describe_chain(report.plan);
  release_source(source);
  print_report(options, verify_text(report, names, options.sizes), verify_json(report, names));
  if (!report.result.first_difference) return {};
  return {difference_error(report, names)};
}

}  // namespace

std::vector<Error> execute(const Options& options, Signals& signals, TerminalLine& terminal) {
  if (options.command == Command::kStatus) return status(options);
  // These commands continue when the reader of their output has gone.
  if (options.command == Command::kMerge || options.command == Command::kCopy ||
      options.command == Command::kResume || options.command == Command::kUndo ||
      options.command == Command::kAbort)
    ignore_closed_pipes();
  signals.start();
  switch (options.command) {
    case Command::kAbort:
      return abort_merge(options);
    case Command::kPlan:
      return plan(options, signals, terminal);
    case Command::kMerge:
    case Command::kCopy:
      if (options.dry_run) return plan(options, signals, terminal);
      check_can_ask(options);
      return merge(options, signals, terminal);
    case Command::kResume:
      return resume(options, signals, terminal);
    case Command::kUndo:
      return undo(options, signals, terminal);
    default:
      return verify(options, signals, terminal);
  }
}

}  // namespace extmerge
