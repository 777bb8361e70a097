// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/named_commands.h"

#include <set>

#include "cli/command_output.h"
#include "cli/journal_place.h"
#include "cli/json_report.h"
#include "cli/merge_status.h"
#include "cli/printable.h"
#include "cli/volume_source.h"

namespace extmerge {

namespace {

BeyondOriginChoice recorded_beyond_origin(const JournalPlace& place) {
  const auto journal = Journal::open(*place.directory, place.name, false, false);
  return journal ? journal->record().beyond_origin : BeyondOriginChoice::kRefuse;
}

// For the report: the devices as the journal has them.
DeviceNames names_of(const NamedSource& source) {
  DeviceNames names{{}, {}, {}, source.thin_name(), source.origin_name()};
  const JournalPlace& place = source.place();
  if (const auto journal = Journal::open(*place.directory, place.name, false, false)) {
    names.metadata = journal->record().metadata.path;
    names.data = journal->record().data.path;
    names.origin = journal->record().origin.path;
  }
  return names;
}

// A killed run had merged everything; its status is the report.
void report_settled(const Options& options, const NamedSource& source) {
  say("the merge of " + source.thin_name() + " into " + source.origin_name() +
      " was done; what a killed run had left is cleared away");
  MergeStatus status = read_status(source.place().path);
  status.running = false;  // the lock is ours
  print_report(options, status_text(status, options.sizes, {}), status_json(status, {}));
}

// Without its journal nobody could put back what an undo log has saved.
void refuse_to_lose_undo(const Journal& journal) {
  const std::string& log = journal.record().undo_log;
  if (!is_under_way(journal.state()) || log.empty()) return;
  if (!undo_log_may_exist(undo_log_place, log)) return;
  throw Error(MessageId::kUndoFirst,
              "the merge in " + journal.path() + " has the undo log " + log +
                  ", which would be of no use any more",
              "extmerge undo " + journal.path() +
                  " puts the origin back and gives up; to leave it half merged, move that file "
                  "away first, with its file system mounted (an empty folder proves nothing)");
}

// Removes the journal of a merge whose thin is gone, unless the merge can be undone still.
void give_up_recorded(const RecordedChanges& recorded) {
  const JournalPlace& place = recorded.place;
  std::unique_ptr<Journal> journal;
  try {
    journal = Journal::open(*place.directory, place.name, false, false);
  } catch (const Error& error) {
    if (error.id() != MessageId::kDamagedJournal) throw;
  }
  try {
    if (journal) refuse_to_lose_undo(*journal);
  } catch (const Error& error) {
    if (!recorded.changes.is_of_lvm()) throw;
    const std::string origin = recorded.changes.origin_name();
    throw Error(error.id(), error.what(),
                "make the origin writable (lvchange -prw " + origin + ", lvchange -ay -K " +
                    origin + "), then " + error.next());
  }
  remove_journal(place);
}

// Before any device is looked at.
DeviceNames names_before(const NamedSource& source) {
  DeviceNames names{{}, {}, source.origin_name(), source.thin_name(), source.origin_name()};
  if (!names.origin.starts_with('/')) names.origin.insert(0, "/dev/");
  return names;
}

DeviceNames names_of(const NamedSource& source, const MergeTarget& target) {
  return {target.metadata_path, target.data_path, target.origin_path, source.thin_name(),
          source.origin_name()};
}

// The merge that was done before, as one that had nothing to copy.
MergeReport report_of_nothing(const NamedSource& source, const PlanReport& plan) {
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

// One round of a named source: the frozen state is merged, and everything put back. With
// `confirmation` a new merge may be begun, else only an unfinished one is resumed. Where nothing
// was written since the last one (PlanReport::nothing_new), nothing is changed.
MergeReport merge_round(const Options& options, NamedSource& source,
                        const ConfirmPlan& confirmation, Progress& progress, Signals& signals) {
  MergeOptions wishes = options.merge;
  if (confirmation && !wishes.restart && source.must_begin_anew()) {
    say("the thin was not kept as it was when the merge began: beginning anew");
    wishes.restart = true;
  }
  const bool goes_on = !confirmation || (source.is_unfinished() && !wishes.restart);
  if (options.finish) {
    wishes.last_round = true;
    wishes.verify = VerifyChoice::kFull;
  }
  std::set<std::string> said;
  const Notice say_once = [&](const std::string& note) {
    if (said.insert(note).second) say(note);
  };
  if (confirmation) {
    MergeTarget target = source.plan_target();
    const DeviceNames names = names_of(source, target);
    Merger planner(std::move(target), wishes, progress, signals.stop_token());
    PlanReport plan = planner.plan();
    source.complete_plan(plan);
    source.planned();
    if (plan.has_nothing_to_merge()) return report_of_nothing(source, plan);
    refuse_any(plan.refusals);
    if (!options.yes) said.insert(plan.notes.begin(), plan.notes.end());  // shown with the question
    if (!confirmation(plan, names)) {
      throw Error(MessageId::kNotConfirmed, "not confirmed: nothing was done",
                  "run it again and answer y, or give --yes");
    }
  }
  if (options.finish) source.begin_finish();
  try {
    if (goes_on) wishes.beyond_origin = recorded_beyond_origin(source.place());
    MergeTarget target = goes_on ? source.resume_target() : source.merge_target();
    if (!source.is_frozen()) wishes.verify = VerifyChoice::kFull;
    Merger merger(std::move(target), wishes, progress, signals.stop_token());
    const MergeReport report = goes_on
                                   ? merger.resume(say_once)
                                   : merger.merge([](const PlanReport&) { return true; }, say_once);
    progress.phase = Phase::kPuttingBack;
    const bool was_written = options.finish && !source.is_as_merged();
    source.done();
    if (was_written) {
      throw Error(MessageId::kStale,
                  source.thin_name() + " was written to while it was merged: it is not removed",
                  "keep it inactive, and run the same command again");
    }
    return report;
  } catch (const Error& error) {
    progress.phase = Phase::kPuttingBack;
    throw source.failed(error);
  }
}

// Disks that are late are not gone: only an administrator can tell them apart.
Error keep_record(const Error& error, const RecordedChanges& recorded) {
  const std::string& journal = recorded.place.path;
  return Error(error.id(), error.what(),
               "attach the disks and run the same command again; the record of the merge is kept. "
               "If the group is gone for good, nothing can be put back: rm " +
                   journal + " " + changes_name(journal));
}

}  // namespace

std::vector<Error> merge_named(const Options& options, Signals& signals, TerminalLine& terminal) {
  if (options.finish) {
    const auto completed = complete_removal(options, options.source);
    if (completed) {
      const MergeStatus status = read_status(completed->journal);
      print_report(options, status_text(status, options.sizes, {}), status_json(status, {}));
      say(completed->outcome);
      return {};
    }
  }
  std::unique_ptr<NamedSource> source = open_named_source(options);
  if (options.finish) source->check_finish();
  const bool is_settled = source->settle();
  if (is_settled && source->is_gone()) {
    report_settled(options, *source);
    return {};
  }
  const bool was_done = is_settled && !options.finish && !options.merge.again;
  Progress progress;
  MergeReport report;
  std::string outcome;
  {
    ProgressDisplay display(progress, signals, terminal,
                            display_settings(options, names_before(*source)));
    const ConfirmPlan ask_first = [&](const PlanReport& found, const DeviceNames& names) {
      return confirm(options, found, names, display, signals, terminal);
    };
    if (options.finish && source->is_unfinished()) {
      Options first = options;  // what was begun, and then a round of its own for the rest
      first.finish = false;
      report = merge_round(first, *source, {}, progress, signals);
      source.reset();
      source = open_named_source(options);
    }
    try {
      report = merge_round(options, *source, ask_first, progress, signals);
    } catch (const Error& error) {
      // What was killed had merged all there is; else this was another round.
      if (!was_done || error.id() != MessageId::kAlreadyDone) throw;
      report_settled(options, *source);
      return {};
    }
    if (options.finish && signals.stop_token().stop_requested()) {
      throw Error(MessageId::kStopped,
                  "stopped as requested: " + source->thin_name() + " is merged and not removed",
                  "run the same command again to remove it");
    }
    if (options.finish) outcome = source->finish();
  }
  if (report.plan.nothing_new && was_done) {
    report_settled(options, *source);
    return {};
  }
  print_merge_report(options, report, names_of(*source));
  const std::string last = options.finish ? outcome : source->next_steps();
  if (!last.empty()) say(last);
  return {};
}

std::vector<Error> resume_named(const Options& options, NamedSource& source, Signals& signals,
                                TerminalLine& terminal) {
  if (source.settle()) {
    report_settled(options, source);
    return {};
  }
  Progress progress;
  MergeReport report;
  {
    const ProgressDisplay display(progress, signals, terminal,
                                  display_settings(options, names_before(source)));
    report = merge_round(options, source, {}, progress, signals);
  }
  print_merge_report(options, report, names_of(source));
  if (const std::string steps = source.next_steps(); !steps.empty()) say(steps);
  return {};
}

std::vector<Error> undo_named(const Options& options, NamedSource& source, Signals& signals,
                              TerminalLine& terminal) {
  source.settle();
  Progress progress;
  UndoReport report;
  try {
    ProgressDisplay display(progress, signals, terminal,
                            display_settings(options, names_before(source)));
    Merger merger(source.undo_target(), options.merge, progress, signals.stop_token());
    report = merger.undo(
        [&](const UndoReport& found) {
          return confirm_undo(options, found, display, signals, terminal);
        },
        say);
    progress.phase = Phase::kPuttingBack;
    source.undone();
  } catch (const Error& error) {
    throw source.failed(error);
  }
  report.origin = source.origin_name();
  print_undo_report(options, report);
  return {};
}

// What was copied stays, and whether that leaves the origin half merged is said.
std::vector<Error> abort_merge(const Options& options) {
  std::unique_ptr<NamedSource> source;
  try {
    source = open_named_source(options);
  } catch (const Error& error) {
    const bool is_absent = error.id() == MessageId::kGroupAbsent;
    if (!is_absent && error.id() != MessageId::kNotFound) throw;
    auto recorded = find_recorded(options, options.source);
    if (!recorded) throw;
    if (is_absent) throw keep_record(error, *recorded);
    // Neither the volume nor its freeze is there: what is left is in the record.
    const SystemChanges changes = recorded->changes;
    const std::string origin = changes.is_of_lvm() ? changes.origin_name() : "its origin";
    put_back_recorded(options, *recorded);
    give_up_recorded(*recorded);
    print_report(options,
                 "Given up: " + printable(changes.thin_name()) + " is gone, and " +
                     printable(origin) + " may be half merged.\n",
                 abort_json(recorded->place.path, origin, Bytes(0)));
    return {};
  }
  JournalPlace place;
  if (source) {
    place = source->place();
  } else {
    JournalPath path = open_journal_path(*options.journal);
    if (path.directory) {
      place = journal_place(std::move(path.directory), path.path);
      lock_place(place);
    }
  }
  const auto journal =
      place.directory ? Journal::open(*place.directory, place.name, false, false) : nullptr;
  if (!source && !journal)
    throw Error(MessageId::kNoJournal, "there is no journal " + *options.journal,
                "extmerge status lists the known ones");
  const bool was_put_back = !source || (source->is_put_back() && !source->has_reclaimed());
  if (source && !journal && was_put_back)
    throw Error(
        MessageId::kNoJournal,
        "no merge of " + source->thin_name() + " is known in " + source->place().directory->path(),
        "extmerge status lists those that are; where the origin is tagged " +
            std::string(kHalfMergedTag) + ", its journal is elsewhere (--state-dir)");
  if (source) source->settle();
  const bool is_over = journal && (journal->state() == JournalState::kDone ||
                                   journal->state() == JournalState::kUndone);
  const std::string outcome =
      is_over && journal->state() == JournalState::kDone ? "is done" : "was undone";
  if (is_over && !was_put_back) {
    print_report(options,
                 "Given up: what a later merge had begun is put back. The last one, in " +
                     printable(place.path) + ", " + outcome + ".\n",
                 abort_json(place.path, source->origin_name(), Bytes(0)));
    return {};
  }
  if (is_over)
    throw Error(MessageId::kNothingToResume, "the merge in " + place.path + " " + outcome,
                "there is nothing to give up");
  if (journal) refuse_to_lose_undo(*journal);
  const Bytes copied = journal ? journal->progress().position : Bytes(0);
  const std::string origin = source    ? source->origin_name()
                             : journal ? journal->record().origin.path
                                       : "the origin";
  if (source)
    source->abort();
  else
    remove_journal(place);
  std::string text;
  if (!journal) {
    text = "Given up: what a killed run had left is cleared away\nNo merge had begun: " +
           printable(origin) + " is as it was.\n";
  } else {
    text = "Given up: the journal " + printable(place.path) + " is removed\n" + printable(origin) +
           " is half merged: at least " + format_size(copied) +
           " of the snapshot are on it. The snapshot itself reads as before, and\n"
           "extmerge merge makes the origin whole. Do not use the origin without that.\n";
  }
  print_report(options, text, abort_json(place.path, origin, copied));
  return {};
}

}  // namespace extmerge
