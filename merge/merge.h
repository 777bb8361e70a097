// SPDX-License-Identifier: GPL-3.0-or-later
//
// The main path: plan, merge, resume, verify. merger.cc reads as the table of
// contents of the program.

#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "merge/copy/pipeline.h"
#include "merge/job.h"
#include "merge/journal/choice.h"
#include "merge/plan/cells.h"
#include "merge/plan/progress.h"
#include "merge/plan/siblings.h"
#include "merge/preflight.h"
#include "merge/state.h"

namespace extmerge {

struct UndoSize;

enum class VerifyChoice { kNone, kSample, kFull };

struct MergeOptions {
  PipelineOptions pipeline;
  BeyondOriginChoice beyond_origin = BeyondOriginChoice::kRefuse;
  Overrides overrides;
  bool restart = false;
  bool again = false;
  bool last_round = false;  // merge what is merged already, if the origin is as it was left
  VerifyChoice verify = VerifyChoice::kSample;
  bool draw_map = false;  // plan
};

// What an undo log would take; a sample of what is planned was compared.
struct UndoLogEstimate {
  std::string path;
  std::optional<Bytes> expected;  // not known where the origin cannot be read yet
  Bytes most;
};

// What `plan` found, also the first half of every other report.
struct PlanReport {
  PlanSummary summary;
  PlanLimits limits;
  ThinId thin_id{};
  MetadataBlock metadata_snap;  // superblock the mappings were read from, 0 for the live one
  uint64_t transaction_id = 0;  // of that superblock
  Bytes origin_bytes;
  std::optional<Bytes> resumable_from;  // an unfinished journal that a merge would go on with
  bool nothing_new = false;             // kAlreadyDone is among the refusals, and it is certain
  bool live_tree_unreadable = false;    // whether the thin has changed is not known
  std::vector<Sibling> siblings;
  bool siblings_are_known = false;  // else they are possible ones
  std::optional<UndoLogEstimate> undo_log;
  std::optional<OriginMap> map;
  std::vector<std::string> notes;  // worth knowing, no reason to refuse
  std::vector<Error> refusals;     // a merge would not start; the first one tells the exit status

  // Nothing new, and no other reason to refuse.
  bool has_nothing_to_merge() const { return nothing_new && refusals.size() == 1; }
};

struct MergeReport {
  PlanReport plan;
  CopyCounters counters;
  double seconds = 0;
  Bytes resumed_from;
  VerifyChoice verified = VerifyChoice::kNone;
  std::string journal;
  std::string undo_log;  // empty if there is none
  JournalState state = JournalState::kIntent;
  Bytes total_bytes;
  Bytes durable_bytes;
};

struct UndoReport {
  std::string journal;
  std::string undo_log;
  std::string origin;
  bool was_undone = false;  // before; nothing was done
  uint64_t ranges = 0;      // of the origin, that were saved
  Bytes saved_bytes;        // what the origin held in them
  Bytes origin_bytes;       // its size afterwards
  double seconds = 0;
};

struct VerifyReport {
  PlanReport plan;
  VerifyResult result;
  double seconds = 0;
};

// Told of each planned run, in plan order (plan --ranges).
using RunListener = std::function<void(const Run&)>;
// Asked before anything is written; false ends the merge with kNotConfirmed.
using Confirm = std::function<bool(const PlanReport&)>;
using ConfirmUndo = std::function<bool(const UndoReport&)>;
// Told of something that happened during the work and is worth a line.
using Notice = std::function<void(const std::string&)>;

class Merger {
 public:
  // `progress` must outlive it.
  Merger(Job job, MergeOptions options, Progress& progress, std::stop_token stop);

  // Changes nothing. Reasons to refuse are in the report, except those that
  // leave nothing to report (a device that cannot be read, damaged metadata).
  PlanReport plan(const RunListener& each_run = {});

  // Plans, asks, copies; goes on by itself where a matching journal is unfinished.
  MergeReport merge(const Confirm& confirm, const Notice& notice = {});

  // Goes on with the job's journal; kNothingToResume or kNoJournal if there is no
  // unfinished one. The job must have been filled in from the journal's record.
  MergeReport resume(const Notice& notice = {});

  // Throws nothing for a difference: it is in the result.
  VerifyReport verify();

  // Puts back what the merge in the job's journal overwrote, done or not; goes on with an
  // undo that was interrupted. kNoJournal, kNoUndoLog, kDamagedUndoLog, kOriginChanged,
  // kSnapshotGone, kSharedOrigin; kDiffers if the origin does not hold afterwards what was saved.
  UndoReport undo(const ConfirmUndo& confirm, const Notice& notice = {});

 private:
  // What can be told before a byte of metadata is read.
  void refuse_unfit_devices(Purpose purpose) const;
  // The origin as it is now.
  Refusal judge_origin(State& state, const PlanReport& plan) const;
  PlanReport make_plan(State& state, Purpose purpose, const RunListener& each_run);
  // Asks the custody whether the origin is ours still.
  std::function<void()> watch() const;
  void plan_journal(State& state, PlanReport& report);
  MergeRecord record_of(const State& state, const PlanReport& plan) const;
  JournalDecision decide_journal(State& state, Journal* journal, const MergeRecord& wanted);
  bool is_unwritten_since(const MergeRecord& done, State& state) const;
  std::unique_ptr<Journal> open_journal(bool writable);
  std::shared_ptr<FileLock> lock_journal();
  // Fills `tree`, if that is given.
  PlanSummary sum_up(State& state, const PlanLimits& limits, const RunListener& each_run,
                     const BeyondOrigin& beyond, PlannedTree* tree);
  // Whether a reader of the origin is another thin than the one to be merged.
  bool is_sibling(const OriginUser& user) const;
  // The other thins of this pool that may read the origin.
  std::vector<ThinDevice> devices_to_compare(const State& state) const;
  std::vector<Sibling> compare(State& state, const PlannedTree& tree,
                               const std::vector<ThinDevice>& devices);
  // One for each known reader of the origin; `compared` has those whose mappings could be read.
  std::vector<Sibling> known_siblings(const std::vector<Sibling>& compared,
                                      uint64_t plan_blocks) const;
  std::shared_ptr<BlockDevice> claim_origin(const PlanReport& plan);
  // Who uses the origin may have changed since it was planned for.
  void refuse_new_users(const PlanReport& plan);
  // The thin may have changed since the plan was made, and what its siblings map.
  void refuse_changed_pool(State& state, Journal& journal, const MergeRecord& merged,
                           const PlanReport& plan);
  std::unique_ptr<State> state_again(const MergeRecord& record) const;
  std::vector<Sibling> siblings_to_ask_again(const PlanReport& plan) const;
  void refuse_newly_harmed(const Sibling& sibling, State& now, Journal& journal);
  void refuse_stale_plan(State& state, const MergeRecord& wanted) const;
  void refuse_changed_source(State& state, const MergeRecord& record, const PlanReport& plan) const;
  std::unique_ptr<Journal> begin_or_go_on(State& state, BlockDevice& origin,
                                          const MergeRecord& wanted, MergeReport& report);
  std::unique_ptr<Journal> begin_journal(State& state, const MergeRecord& wanted);
  void refuse_unmerged(Journal& journal, State& state, BlockDevice& origin,
                       const MergeRecord& wanted);
  static void grow_origin(const Journal& journal, BlockDevice& origin);
  uint64_t fingerprint(Journal& journal, BlockDevice& origin) const;
  std::unique_ptr<UndoLog> open_undo_log(Journal& journal);
  bool undo_log_exists(const Journal* journal) const;
  // --restart, and the plan in the journal cannot be read.
  void refuse_to_lose_undo() const;
  // Null where it is not active and nothing below it can be read either.
  std::shared_ptr<BlockDevice> open_readable_origin() const;
  void draw_map(State& state, PlanReport& plan) const;
  UndoLogEstimate estimate_undo_log(State& state, const PlanReport& plan) const;
  void plan_undo_log(State& state, PlanReport& report) const;
  void refuse_other_origin(const Journal& journal);
  void refuse_other_size(const Journal& journal) const;
  std::unique_ptr<DurableFile> find_undo_log(const MergeRecord& record) const;
  void refuse_container(const Journal& journal, const UndoSize& found) const;
  void refuse_undo(Journal& journal);
  std::shared_ptr<BlockDevice> claim_for_undo(Journal& journal);
  JournalProgress copy(Journal& journal, State& state, BlockDevice& origin);
  void verify_merged(Journal& journal, State& state, BlockDevice& origin);

  Job job_;
  MergeOptions options_;
  bool must_resume_ = false;
  Progress& progress_;
  std::stop_token stop_;
};

// A job for finishing what `record` describes: its paths, thin id and root
// choice. Facts, opener and journal place are the caller's to fill in.
Job job_of(const MergeRecord& record);

}  // namespace extmerge
