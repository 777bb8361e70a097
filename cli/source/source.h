// SPDX-License-Identifier: GPL-3.0-or-later
//
// A source finds the devices of a merge, keeps the thin still, reserves and releases metadata
// snapshots, and puts back its changes on every way out. There is one class for each kind: devices
// one by one (cli/source/plain_source.h), a device-mapper thin (cli/source/dm/dm_source.h), a
// volume of LVM (cli/source/lvm/volume_source.h). A source lives for one command:
//
//   plan, verify   plan_job() or verify_job()
//   merge          plan_job(); then, confirmed, merge_job(); then done() or failed()
//   resume         resume_job(); then the same
//   undo           undo_job(); then undone() or failed()

#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/nbd_device.h"
#include "merge/job.h"
#include "merge/merge.h"

namespace extmerge {

// Returns the facts of a device as they are now.
using Look = std::function<DeviceFacts()>;

// The target of a copy as a journal records it: an absolute path, or the URI of an NBD export.
std::string target_path(const std::string& target);

class Source : public Custody {
 public:
  // Whether it was named, and not spelled out device by device.
  bool is_named() const { return !thin_name().empty(); }

  // The names of the source, and of the origin or the target, for people. Only a named source has a
  // name.
  virtual std::string thin_name() const = 0;
  virtual std::string origin_name() const = 0;

  // Whether a merge of this source was begun and can go on; `merge` then resumes.
  virtual bool is_unfinished() const { return false; }
  // Whether one was begun and cannot go on, because the frozen state is gone.
  virtual bool must_restart() const { return false; }
  // Whether more than the origin's data is changed: a freeze, a mark, a held metadata snapshot.
  virtual bool has_leftovers() const { return false; }
  // Whether a metadata snapshot that a killed run left was found, and released, on opening.
  bool has_reclaimed() const { return has_reclaimed_; }
  // Clears the leftovers of a killed run whose merge is done or had not begun. Tells whether the
  // merge is done: then nothing else remains to do. kDoneAndGone: the source is gone, too.
  enum class Earlier { kNotDone, kDone, kDoneAndGone };
  virtual Earlier clear_leftovers() { return Earlier::kNotDone; }

  // Mappings are readable from here on until the source goes, or release_mappings() is called. A
  // question may wait for hours, so release them before it.
  virtual Job plan_job() = 0;
  virtual Job verify_job() { return plan_job(); }
  // Throws kThinNotStill if the thin can be written to.
  virtual void check_still() const {}
  // Adds the refusals and notes that only the source knows.
  virtual void complete_plan(PlanReport&) const {}

  // The source frozen or known to be still, the origin writable.
  virtual Job merge_job() = 0;
  virtual Job resume_job() = 0;

  // The origin writable; of the thin only the mappings are read, to see who would be harmed.
  virtual Job undo_job() = 0;

  virtual void done() {}
  // Puts back what abort() does, but for the journal.
  virtual void undone() {}
  // After an exception from the merge: puts back what is not needed for a resume.
  // Returns the error to report instead.
  virtual Error failed(const Error& error) { return error; }

  // --finish. Refuses where it cannot be done, before anything happens.
  virtual void check_finish(bool may_be_open) const;
  // Keeps the thin from being used, so that what is merged is its last state.
  virtual void begin_finish() {}
  // After the merge, before done(): whether nothing was written to the thin since.
  virtual bool is_as_merged() { return true; }
  // Whether what is merged cannot change; else it is compared in full afterwards.
  virtual bool is_frozen() const { return false; }
  // After done(): removes the thin and makes the origin an ordinary volume again. Returns
  // what came of it, for the report.
  virtual std::string finish() { return {}; }
  // --when-closed. Whether the thin is open now, by the kernel's word.
  virtual bool is_open() const { return false; }
  // Keeps the destination claimed between rounds, until finish() or the end of the source.
  void keep_claim() { keeps_claim_ = true; }
  // Throws if it is lost. Reads from a target: a server may drop a client that is silent for long.
  virtual void check_claim();
  // Records that the thin may be closed now, or that the wait for that is over.
  virtual void set_waiting(bool) {}
  // Takes the thin out of use; false if it is open again.
  virtual bool close() { return true; }
  // The next steps, with their commands; may be empty.
  virtual std::string next_steps() const { return {}; }

  // Names of the volumes whose contents the merge destroys (--with), the newest first.
  virtual std::vector<std::string> given_up() const { return {}; }
  // Adds the volume's chain and the volumes that are given up.
  virtual void describe_chain(PlanReport&) const {}

  // Gives up: puts back all but the copied blocks and removes the journal.
  virtual void abort() = 0;

  virtual const JournalPlace& place() const = 0;

  // Custody, as it is for devices that nothing is done to.
  std::shared_ptr<BlockDevice> open(const DeviceFacts& facts, OpenMode mode,
                                    Bytes ends_multiple_of) override;
  JournalPlace undo_log_at(const std::string& path) override;
  void look_again(Job& job) override;

 protected:
  // Fills in the custody, which is this, and the facts of the origin. The job has the facts of the
  // pool's devices already.
  void look_at_devices(Job& job, const Look& origin);
  // Looks at the target of a copy; connects to an export unless it is open. Throws kNotFound.
  Look target_look(const std::string& target);

  // Whether a device that is claimed stays so (keep_claim()).
  bool keeps_claim_ = false;

  bool has_reclaimed_ = false;

 private:
  DeviceFacts export_facts(const std::string& uri);
  void keep(const DeviceFacts& facts, OpenMode mode, const std::shared_ptr<BlockDevice>& device);
  bool is_claimed(const DeviceFacts& facts);

  Look origin_;
  // The export that is open for writing: some servers take one client only.
  std::weak_ptr<NbdDevice> exported_;
  std::shared_ptr<BlockDevice> claimed_;
  DeviceFacts claimed_facts_;
  std::set<std::string> told_;  // that go through the page cache
};

}  // namespace extmerge
