// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/commands.h"

#include <spdlog/spdlog.h>

#include "cli/command_output.h"
#include "cli/confirm.h"
#include "cli/ddrescue_map.h"
#include "cli/json_report.h"
#include "cli/merge_status.h"
#include "cli/named_commands.h"
#include "cli/named_source.h"
#include "cli/open_target.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/picture.h"
#include "cli/printable.h"
#include "cli/progress_display.h"
#include "cli/report.h"
#include "io/posix_directory.h"

namespace extmerge {

namespace {

DeviceNames names_of(const MergeTarget& target, const NamedSource* source = nullptr) {
  DeviceNames names{target.metadata_path, target.data_path, target.origin_path, {}, {}};
  if (source) {
    names.thin_name = source->thin_name();
    names.origin_name = source->origin_name();
  }
  return names;
}

// A named source holds what has to be let go before the program may end.
std::unique_ptr<NamedSource> open_source(const Options& options) {
  if (!options.source.empty()) ignore_closed_pipes();
  return open_named_source(options);
}

void put_back(std::unique_ptr<NamedSource>& source) {
  if (!source) return;
  source.reset();
  heed_closed_pipes();
}

// Made before anything else is done: what is in the way is refused at once.
std::unique_ptr<OutputFile> map_file(const Options& options) {
  if (!options.map) return nullptr;
  return std::make_unique<OutputFile>("--map", *options.map, kPictureMark);
}

void draw_map(const Options& options, OutputFile& file, const Picture& picture) {
  file.write(options.map == "-" ? draw_for_terminal(picture, ink_of_standard_output())
                                : draw_svg(picture));
  file.publish();
}

std::vector<Error> plan(const Options& options, Signals& signals, TerminalLine& terminal) {
  const std::unique_ptr<OutputFile> map = map_file(options);
  std::unique_ptr<NamedSource> source = open_source(options);
  if (options.finish) source->check_finish();
  MergeTarget target =
      source ? source->plan_target() : open_target(options, StateDirectory::kAsItIs);
  const DeviceNames names = names_of(target, source.get());
  Progress progress;
  PlanReport report;
  {
    const ProgressDisplay display(progress, signals, terminal, display_settings(options, names));
    MergeOptions wishes = options.merge;
    wishes.last_round = options.finish;
    if (source && !wishes.restart) wishes.restart = source->must_begin_anew();
    Merger merger(std::move(target), wishes, progress, signals.stop_token());
    RunListener each_run;
    if (options.ranges) {
      if (options.headings) print(ranges_heading());
      each_run = [](const Run& run) { print(ranges_line(run)); };
    }
    report = merger.plan(each_run);
  }
  if (source) source->complete_plan(report);
  if (source && report.has_nothing_to_merge()) report.refusals.clear();
  put_back(source);
  // Before the report, so that there is one document where it fails.
  if (map && options.map != "-") draw_map(options, *map, picture_of(report, names, options.sizes));
  if (options.ranges) {
    for (const std::string& note : report.notes) spdlog::warn("{}", printable(note));
    flush_output();
  } else {
    // Only the one that is asked for: each has a line or more for each of 100,000 thins.
    print_report(options,
                 options.json ? "" : plan_text(report, names, options.sizes, options.verbosity > 0),
                 options.json ? plan_json(report, names) : "");
  }
  if (options.map == "-") draw_map(options, *map, picture_of(report, names, options.sizes));
  return report.refusals;
}

// Before anything is looked at, let alone made.
void check_can_ask(const Options& options) {
  if (options.yes || can_ask()) return;
  throw Error(MessageId::kNotConfirmed,
              "not confirmed: there is no terminal to ask on, and nothing was done",
              "see what would be done with extmerge plan, then give --yes");
}

std::vector<Error> merge(const Options& options, Signals& signals, TerminalLine& terminal) {
  if (options.dry_run) return plan(options, signals, terminal);
  check_can_ask(options);
  if (!options.source.empty()) return merge_named(options, signals, terminal);
  MergeTarget target = open_target(options, StateDirectory::kCreate);
  const DeviceNames names = names_of(target);
  Progress progress;
  MergeReport report;
  {
    ProgressDisplay display(progress, signals, terminal, display_settings(options, names));
    Merger merger(std::move(target), options.merge, progress, signals.stop_token());
    report = merger.merge(
        [&](const PlanReport& found) {
          PlanReport shown = found;
          shown.notes.clear();  // the merger has said them
          return confirm(options, shown, names, display, signals, terminal);
        },
        say);
  }
  print_merge_report(options, report, names);
  return {};
}

std::vector<Error> resume(const Options& options, Signals& signals, TerminalLine& terminal) {
  if (const std::unique_ptr<NamedSource> source = open_named_source(options))
    return resume_named(options, *source, signals, terminal);
  RecordedMerge recorded = open_recorded(*options.journal);
  const DeviceNames names = names_of(recorded.target);
  MergeOptions merge_options = options.merge;
  merge_options.beyond_origin = recorded.beyond_origin;
  Progress progress;
  MergeReport report;
  {
    const ProgressDisplay display(progress, signals, terminal, display_settings(options, names));
    Merger merger(std::move(recorded.target), merge_options, progress, signals.stop_token());
    report = merger.resume(say);
  }
  print_merge_report(options, report, names);
  return {};
}

std::vector<Error> undo(const Options& options, Signals& signals, TerminalLine& terminal) {
  check_can_ask(options);
  std::optional<RecordedMerge> recorded;
  try {
    if (const std::unique_ptr<NamedSource> source = open_named_source(options))
      return undo_named(options, *source, signals, terminal);
    recorded = open_recorded(*options.journal);
  } catch (const Error& error) {
    // After `merge --finish` the snapshot is gone, and its origin a device like any other.
    if (error.id() != MessageId::kNotFound) throw;
    const auto found = find_recorded(options, options.source);
    if (!found || !found->changes.is_put_back()) throw;
    recorded = open_recorded(found->place.path);
  }
  Progress progress;
  UndoReport report;
  {
    ProgressDisplay display(progress, signals, terminal,
                            display_settings(options, names_of(recorded->target)));
    Merger merger(std::move(recorded->target), options.merge, progress, signals.stop_token());
    report = merger.undo(
        [&](const UndoReport& found) {
          return confirm_undo(options, found, display, signals, terminal);
        },
        say);
  }
  print_undo_report(options, report);
  return {};
}

std::vector<Error> verify(const Options& options, Signals& signals, TerminalLine& terminal) {
  std::unique_ptr<NamedSource> source = open_source(options);
  MergeTarget target =
      source ? source->verify_target() : open_target(options, StateDirectory::kAsItIs);
  const DeviceNames names = names_of(target, source.get());
  Progress progress;
  VerifyReport report;
  {
    const ProgressDisplay display(progress, signals, terminal, display_settings(options, names));
    Merger merger(std::move(target), options.merge, progress, signals.stop_token());
    report = merger.verify();
  }
  put_back(source);
  print_report(options, verify_text(report, names, options.sizes), verify_json(report, names));
  if (!report.result.first_difference) return {};
  return {difference_error(report, names)};
}

std::vector<MergeStatus> all_statuses(const Options& options) {
  try {
    return read_all(*open_directory(state_directory(options), false));
  } catch (const Error& error) {
    // Before the first merge there is no directory; one that was named must exist.
    if (error.id() != MessageId::kNotFound || options.has("state-dir")) throw;
    return {};
  }
}

std::optional<SystemChanges> changes_beside(const std::string& journal) {
  const JournalPath path = open_journal_path(journal);
  if (!path.directory) return {};
  return read_changes(*path.directory, path.name);
}

void print_status(const Options& options, const std::string& path,
                  const std::optional<SystemChanges>& changes) {
  const std::unique_ptr<OutputFile> map = map_file(options);
  std::unique_ptr<OutputFile> exported;
  if (options.exported)
    exported = std::make_unique<OutputFile>("--export", options.export_path, kMapfileMark);
  const WholeJournal whole =
      map || exported ? read_whole(path) : WholeJournal{read_status(path), nullptr};
  const auto draw = [&] { draw_map(options, *map, picture_of(*whole.journal, options.sizes)); };
  // Files before the report, so that there is one document where that fails.
  if (map && options.map != "-") draw();
  if (exported) {
    write_mapfile(*whole.journal, *exported);
    exported->publish();
  }
  // A mapfile on standard output is all that is there.
  if (!exported || options.export_path != "-")
    print_report(
        options,
        status_text(whole.status, options.sizes, changes) + (changes ? changes_text(*changes) : ""),
        status_json(whole.status, changes));
  if (options.map == "-") draw();
}

std::vector<Error> status_of_volume(const Options& options) {
  const auto found = find_recorded(options, options.source);
  if (!found)
    throw Error(MessageId::kNoJournal, "no merge of " + options.source + " is known",
                "extmerge status lists those that are");
  const auto journal = Journal::open(*found->place.directory, found->place.name, false, false);
  if (!journal && (options.map || options.exported))
    throw Error(MessageId::kNoJournal, "no merge of " + options.source + " has begun",
                "extmerge plan --map draws what one would copy");
  if (!journal) {
    print_report(
        options,
        "No merge of " + printable(options.source) + " has begun\n" + changes_text(found->changes),
        changes_json(found->changes));
    return {};
  }
  print_status(options, found->place.path, found->changes);
  return {};
}

std::vector<Error> status(const Options& options) {
  if (!options.source.empty()) return status_of_volume(options);
  if (options.journal) {
    print_status(options, *options.journal, changes_beside(*options.journal));
    return {};
  }
  const std::vector<MergeStatus> all = all_statuses(options);
  print_report(options,
               all.empty() ? "No merges are known in " + printable(state_directory(options)) + "\n"
                           : status_table(all, options.headings, options.sizes),
               status_list_json(all));
  std::vector<Error> damaged;
  for (const MergeStatus& one : all) {
    if (one.damage) damaged.push_back(*one.damage);
  }
  return damaged;
}

}  // namespace

std::vector<Error> run_command(const Options& options, Signals& signals, TerminalLine& terminal) {
  if (options.command == Command::kStatus) return status(options);
  // Whoever reads what they say may go away, and they go on.
  if (options.command == Command::kMerge || options.command == Command::kResume ||
      options.command == Command::kUndo || options.command == Command::kAbort)
    ignore_closed_pipes();
  signals.start();
  switch (options.command) {
    case Command::kAbort:
      return abort_merge(options);
    case Command::kPlan:
      return plan(options, signals, terminal);
    case Command::kMerge:
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
