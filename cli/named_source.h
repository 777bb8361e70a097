// SPDX-License-Identifier: GPL-3.0-or-later
//
// A source that is named instead of being spelled out device by device: an LVM volume
// (cli/volume_source.h) or a device-mapper thin (cli/dm_source.h). It finds the devices,
// keeps the thin still, reserves and releases metadata snapshots, and puts back on every
// way out whatever it changed. Its life is one command:
//
//   plan, verify   plan_target() or verify_target()
//   merge          plan_target(); then, confirmed, merge_target(); then done() or failed()
//   resume         resume_target(); then the same
//   undo           undo_target(); then undone() or failed()

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/lvm.h"
#include "cli/options.h"
#include "cli/system_changes.h"
#include "merge/merger.h"
#include "merge/target.h"

namespace extmerge {

class NamedSource {
 public:
  virtual ~NamedSource() = default;

  // Of the source and of the origin, for people.
  virtual std::string thin_name() const = 0;
  virtual std::string origin_name() const = 0;

  // Whether a merge of this source was begun and can go on; `merge` then resumes.
  virtual bool is_unfinished() const = 0;
  // Whether one was begun and cannot go on, because the frozen state is gone.
  virtual bool must_begin_anew() const { return false; }
  // Whether nothing is changed beside the origin's data: no freeze, no mark.
  virtual bool is_put_back() const { return true; }
  // Whether a metadata snapshot that a killed run left was found, and released, on opening.
  bool has_reclaimed() const { return has_reclaimed_; }
  // After settle(): whether there is no such source any more.
  virtual bool is_gone() const { return false; }
  // What a killed run left of a merge that is done, or was never begun, is cleared away.
  // True if it was done: then this was all that remained to do.
  virtual bool settle() { return false; }

  // Mappings are readable from here on until the source goes, or mappings_read is called.
  virtual MergeTarget plan_target() = 0;
  virtual MergeTarget verify_target() = 0;
  // What plan_target() holds is let go: nobody knows how long the question will wait.
  virtual void planned() = 0;
  // What only the named source knows to refuse or to say of a plan.
  virtual void complete_plan(PlanReport& report) const = 0;

  // The source frozen or known to be still, the origin writable.
  virtual MergeTarget merge_target() = 0;
  virtual MergeTarget resume_target() = 0;

  // The origin writable; of the thin only the mappings are read, to see who would be harmed.
  virtual MergeTarget undo_target() = 0;

  virtual void done() = 0;
  // Puts back what abort() does, but for the journal.
  virtual void undone() = 0;
  // After an exception from the merge: puts back what is not needed for a resume.
  // Returns the error to report instead.
  virtual Error failed(const Error& error) = 0;

  // --finish. Refuses where it cannot be done, before anything happens.
  virtual void check_finish() const;
  // Keeps the thin from being used, so that what is merged is its last state.
  virtual void begin_finish() {}
  // After the merge, before done(): whether nothing was written to the thin since.
  virtual bool is_as_merged() { return true; }
  // Whether what is merged cannot change; else it is compared in full afterwards.
  virtual bool is_frozen() const { return false; }
  // After done(): removes the thin and makes the origin an ordinary volume again. Returns
  // what came of it, for the report.
  virtual std::string finish() { return {}; }
  // What to do next, with the commands; may be empty.
  virtual std::string next_steps() const { return {}; }

  // Gives up: puts back all but the copied blocks and removes the journal.
  virtual void abort() = 0;

  virtual const JournalPlace& place() const = 0;

 protected:
  bool has_reclaimed_ = false;
};

// What `options.source` or, for resume, undo and abort, the journal names. Null if that is a
// merge of plain devices.
std::unique_ptr<NamedSource> open_named_source(const Options& options);

// Every volume of the group that the record is of, whatever it is called now; and among them the
// freeze, null if it is gone.
std::vector<LogicalVolume> recorded_group(const Lvm& lvm, const SystemChanges& changes);
const LogicalVolume* find_freeze(const std::vector<LogicalVolume>& volumes,
                                 const SystemChanges& changes);

struct RecordedChanges {
  JournalPlace place;
  SystemChanges changes;
};
// Takes the record's lock and reads the record again: a command that had the lock may have changed
// it. Throws kJournalLocked, also if it is the record of another merge by now.
void lock_recorded(RecordedChanges& recorded);
// All in the state directory that can be read.
std::vector<RecordedChanges> all_recorded(const Options& options);
// The record of a merge of that volume ("vg/snap", a path of its device; also one that is
// gone or was renamed), in --journal or the state directory. With --journal and no name:
// whatever is recorded beside that.
std::optional<RecordedChanges> find_recorded(const Options& options, const std::string& name);

}  // namespace extmerge
