// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/command_output.h"
#include "cli/commands.h"
#include "cli/show/json.h"
#include "cli/source/lvm/volume_source.h"
#include "cli/source/open_source.h"
#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "io/text.h"

namespace extmerge {

namespace {

// Without its journal nobody could put back what an undo log has saved.
void refuse_to_lose_undo(const Journal& journal) {
  const std::string& log = journal.record().undo_log;
  if (!is_under_way(journal.state()) || log.empty()) return;
  if (!undo_log_may_exist([&] { return undo_log_place(log); })) return;
  throw Error(
      MessageId::kUndoFirst,
      "the " + journal.record().deed() + " in " + journal.path() + " has the undo log " + log +
          ", and abort would make it useless",
      "extmerge undo " + journal.path() + " puts the " + journal.record().role() +
          " back; to leave it half " + journal.record().done() +
          " instead, mount the file system of the undo log, move the undo log away, and run "
          "abort again");
}

// Removes the journal of a merge whose thin is gone, unless the merge can be undone still.
void give_up_recorded(const RecordedChanges& recorded) {
  const JournalPlace& place = recorded.place;
  std::unique_ptr<Journal> journal;
  try {
    journal = read_journal(place);
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
  give_up_journal(place);
}

// Disks that are late are not gone: only an administrator can tell them apart.
Error keep_record(const Error& error, const RecordedChanges& recorded) {
  const std::string& journal = recorded.place.path;
  return Error(error.id(), error.what(),
               "attach the disks and run the same command again; the record of the merge is kept. "
               "If the group is gone for good, nothing can be put back: rm " +
                   journal + " " + changes_name(journal));
}

// The source is missing: the record tells what to put back.
std::vector<Error> abort_recorded(const Options& options, const Error& error) {
  const bool is_absent = error.id() == MessageId::kGroupAbsent;
  if (!is_absent && error.id() != MessageId::kNotFound) throw error;
  auto recorded = find_recorded(options, options.source);
  if (!recorded) throw error;
  if (is_absent) throw keep_record(error, *recorded);
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

Error nothing_known(const Options& options, const Source& source) {
  if (!source.is_named()) return no_journal(*options.journal);
  return Error(
      MessageId::kNoJournal,
      "no merge of " + source.thin_name() + " is known in " + source.place().directory->path(),
      "extmerge status lists the known merges and copies; a copy is named by its journal; if the "
      "origin is tagged " +
          std::string(kHalfMergedTag) + ", name the folder of its journal with --state-dir");
}

std::string outcome_of_copy(const Journal& journal) {
  return "Given up: the copy to " + printable(journal.record().origin.path) +
         ", which has parts of the snapshot now\nThe journal " + printable(journal.path()) +
         " stays, since it tells which. The same copy command with --restart copies\n"
         "from the beginning; remove the journal once the target is of no use any more.\n";
}

std::string outcome_text(const JournalPlace& place, const std::string& origin,
                         const Journal* journal, const std::vector<std::string>& given_up) {
  if (journal && journal->record().is_copy()) return outcome_of_copy(*journal);
  if (!journal) {
    return "Given up: the leftovers of a killed run are removed\nNothing had begun: " +
           printable(origin) + " is as it was.\n";
  }
  return "Given up: the journal " + printable(place.path) + " is removed\n" + printable(origin) +
         " is half merged: at least " + format_size(journal->progress().position) +
         " of the snapshot are on it. The snapshot itself reads as before, and\n"
         "extmerge merge makes the origin whole. Do not use the origin before that.\n" +
         (given_up.empty()
              ? ""
              : printable(some_of(given_up)) + (given_up.size() == 1 ? " was" : " were") +
                    " given up: the contents are lost.\n");
}

}  // namespace

// Puts back all but the copied blocks, removes the journal, and says whether the origin is half
// merged.
std::vector<Error> abort_merge(const Options& options) {
  std::unique_ptr<Source> source;
  try {
    source = open_source(options);
  } catch (const Error& error) {
    return abort_recorded(options, error);
  }
  const JournalPlace& place = source->place();
  const auto journal = read_journal(place);
  const bool had_leftovers = source->has_leftovers() || source->has_reclaimed();
  if (!journal && !had_leftovers) throw nothing_known(options, *source);
  source->clear_leftovers();
  const bool is_done = journal && journal->state() == JournalState::kDone;
  if (is_done || (journal && journal->state() == JournalState::kUndone)) {
    const std::string outcome = is_done ? "is done" : "was undone";
    if (!had_leftovers)
      throw Error(MessageId::kNothingToResume,
                  "the " + journal->record().deed() + " in " + place.path + " " + outcome,
                  "there is nothing to give up");
    const std::string deed = journal->record().deed();
    print_report(options,
                 "Given up: the changes of a later " + deed + " are put back. The last " + deed +
                     ", in " + printable(place.path) + ", " + outcome + ".\n",
                 abort_json(place.path, source->origin_name(), Bytes(0)));
    return {};
  }
  if (journal) refuse_to_lose_undo(*journal);
  const std::string origin = source->origin_name();
  const std::vector<std::string> given_up = source->given_up();
  source->abort();
  print_report(options, outcome_text(place, origin, journal.get(), given_up),
               abort_json(place.path, origin, journal ? journal->progress().position : Bytes(0)));
  return {};
}

}  // namespace extmerge
