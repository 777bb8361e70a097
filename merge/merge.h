// SPDX-License-Identifier: GPL-3.0-or-later
//
// The main path: plan, merge, resume, verify, undo. merge.cc is the table of contents of the
// program.

#pragma once

#include <array>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "merge/copy/pipeline.h"
#include "merge/job.h"
#include "merge/journal/base.h"
#include "merge/journal/choice.h"
#include "merge/journal/spool.h"
#include "merge/plan/cells.h"
#include "merge/plan/contents.h"
#include "merge/plan/copy_runs.h"
#include "merge/plan/progress.h"
#include "merge/plan/siblings.h"
#include "merge/preflight.h"
#include "merge/state.h"

namespace extmerge {

struct UndoSize;

// kChanged: all that this merge copied; kFull: all that the merged state maps.
enum class VerifyChoice { kNone, kSample, kChanged, kFull };

struct MergeOptions {
  PipelineOptions pipeline;
  BeyondOriginChoice beyond_origin = BeyondOriginChoice::kRefuse;
  Overrides overrides;
  bool restart = false;
  bool again = false;
  // For --finish: merge again what is done already, if the origin is unchanged since; with
  // kChanged, an earlier merge must have been compared in full.
  bool last_round = false;
  RoundChoice round = RoundChoice::kAsKnown;
  std::string full_reason;  // if not empty, a full merge, for that reason
  VerifyChoice verify = VerifyChoice::kSample;
  bool draw_map = false;  // plan
};

// The estimated size of an undo log, from a compared sample of the plan.
struct UndoLogEstimate {
  std::string path;
  std::optional<Bytes> expected;  // nothing if the origin cannot be read yet
  Bytes most;
};

// The result of `plan`, and the first part of other reports.
struct PlanReport {
  PlanSummary summary;
  PlanLimits limits;
  ThinId thin_id{};
  MetadataBlock metadata_snap;  // superblock of the mappings, 0 for the live one
  uint64_t transaction_id = 0;  // of that superblock
  Bytes origin_bytes;
  std::optional<Base> base;  // of a round
  std::string since;         // the journal of another target, from which `base` is
  std::string full_reason;   // the reason for a full merge, as the end of a sentence
  bool is_copy = false;      // to a target, all that the thin shows if `is_whole`
  bool is_whole = false;
  Bytes target_bytes{};
  std::optional<Bytes> resumable_from;  // of an unfinished journal that a merge would resume
  bool has_rest = false;                // data past the origin's end (Job::keeps_rest)
  bool nothing_new = false;             // certain, with kAlreadyDone among the refusals
  bool live_tree_unreadable = false;    // unknown whether the thin has changed
  std::vector<Sibling> siblings;
  bool siblings_are_known = false;  // else siblings are only possible ones
  bool keeps_siblings = false;      // harmed siblings get their own copies first
  // Names of volumes of LVM: the origin, then each volume of the chain up to the thin; and those
  // whose contents the merge destroys (--with), the newest first.
  std::vector<std::string> chain, given_up;
  std::vector<ThinId> older;  // of Job::perhaps_older: those that the thin is a descendant of
  std::optional<UndoLogEstimate> undo_log;
  std::optional<OriginMap> map;
  std::vector<std::string> notes;  // warnings, no reasons to refuse
  std::vector<Error> refusals;     // reasons not to merge; the first one decides the exit status

  // Whether nothing is new and no other refusal exists.
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
  bool is_copy = false;     // `origin` is the target
  bool was_undone = false;  // already before; nothing was done
  uint64_t ranges = 0;      // saved ranges of the origin
  Bytes saved_bytes;        // bytes in these ranges
  Bytes origin_bytes;       // the origin's size afterwards
  double seconds = 0;
};

struct VerifyReport {
  PlanReport plan;
  VerifyResult result;
  double seconds = 0;
};

// The base of a map: what its reader has already. Neither: nothing. `is_origin`: the origin.
// `journal`: the state whose merge or copy it records.
struct ContentsBase {
  bool is_origin = false;
  Journal* journal = nullptr;
};

// A map of the thin's contents, summed up.
struct ContentsReport {
  ThinId thin_id{};
  ContentLimits limits;
  std::array<Bytes, kContents> bytes{};  // of each kind
  uint64_t ranges = 0;
  bool ends_the_same = false;  // the last range is the base's
  std::vector<std::string> notes;

  Bytes of(Content content) const { return bytes[static_cast<size_t>(content)]; }
};

// Called for each planned run, in plan order (plan --ranges).
using RunListener = std::function<void(const Run&)>;
// Called before anything is written; false ends the command with kNotConfirmed.
using Confirm = std::function<bool(const PlanReport&)>;
using ConfirmUndo = std::function<bool(const UndoReport&)>;
// Called for an event that is worth a line of output.
using Notice = std::function<void(const std::string&)>;

class Merger {
 public:
  // `progress` must outlive the merger.
  Merger(Job job, MergeOptions options, Progress& progress, std::stop_token stop);

  // Changes nothing. The report has the refusals. Failures that leave nothing to report (an
  // unreadable device, damaged metadata) are thrown.
  PlanReport plan(const RunListener& each_run = {});

  // Plans, asks and copies. Resumes by itself if a matching journal is unfinished.
  MergeReport merge(const Confirm& confirm, const Notice& notice = {});

  // Resumes the job's journal. Throws kNothingToResume or kNoJournal if no journal is unfinished.
  // The job must come from the journal's record.
  MergeReport resume(const Notice& notice = {});

  // Compares. A difference is in the result, and not thrown.
  VerifyReport verify();

  // Sums the contents of the whole thin up, and then lists them for the listener that `begin`
  // returns. Changes nothing. Throws kNoBase if the journal is no base of this thin, kUsage if the
  // thin's size is not known, and as plan() does.
  ContentsReport list_contents(const ContentsBase& base,
                               const std::function<ContentListener(const ContentsReport&)>& begin);

  // Puts back what the merge in the job's journal overwrote, even if the merge is unfinished.
  // Continues an interrupted undo. Throws kNoJournal, kNoUndoLog, kDamagedUndoLog, kOriginChanged,
  // kSnapshotGone, kSharedOrigin; kDiffers if the origin does not hold the saved bytes afterwards.
  UndoReport undo(const ConfirmUndo& confirm, const Notice& notice = {});

 private:
  // Refuses what the devices alone show, before any metadata is read.
  void refuse_unfit_devices(Purpose purpose) const;
  // Refuses an origin that holds a container.
  Refusal judge_origin(State& state, const PlanReport& plan) const;
  // The report as it is before any mapping is read.
  PlanReport begin_report(const State& state) const;
  PlanReport make_plan(State& state, Purpose purpose, const RunListener& each_run);
  // Whether the thin has changed since its mappings were held.
  State::Freshness freshness_of(State& state) const;
  // The limits of a map. Throws kNoBase.
  ContentLimits content_limits(State& state, const ContentsBase& base,
                               std::vector<std::string>& notes);
  // A function that asks the custody whether the command still has the origin.
  std::function<void()> watch() const;
  // Decides between a round and a full merge, after the last journal.
  void plan_base(State& state, Journal* last, PlanReport& report) const;
  BaseDecision base_for(const State& state, Journal* last, const MergeRecord& wanted) const;
  void plan_journal(State& state, Journal* journal, PlanReport& report);
  // A mapping older than the last merge that this merge did not have.
  Refusal find_other_mapping(State& state, const Journal& last, const PlanLimits& limits) const;
  std::optional<ThinIdentity> frozen_from(const State& state) const;
  MergeRecord record_of(const State& state, const PlanReport& plan) const;
  JournalDecision decide_journal(State& state, Journal* journal, const MergeRecord& wanted);
  bool is_unwritten_since(const MergeRecord& done, const MergeRecord& wanted) const;
  std::unique_ptr<Journal> open_journal(bool writable);
  std::shared_ptr<FileLock> lock_journal();
  // Counts the plan, and fills `tree` if that is not null.
  PlanSummary sum_up(State& state, const PlanLimits& limits, const RunListener& each_run,
                     const BeyondOrigin& beyond, PlannedTree* tree);
  PlanSummary sum_up_copy(State& state, const PlanLimits& limits, const Journal* last,
                          const RunListener& each_run);
  std::vector<ThinId> older_thins(State& state) const;
  // The other thins of this pool that may read the origin.
  std::vector<ThinDevice> devices_to_compare(const State& state) const;
  std::vector<Sibling> compare(State& state, const PlannedTree& tree,
                               const std::vector<ThinDevice>& devices);
  // A sibling for each known reader of the origin. `report` has those that were compared.
  void add_known_siblings(State& state, PlanReport& report);
  // The siblings in other pools, with all `plan_blocks` harmed in those whose mappings cannot be
  // read. `limits` are those of the plan.
  std::vector<Sibling> siblings_elsewhere(const PlanLimits& limits, uint64_t plan_blocks,
                                          const PlanRuns& plan);
  // Counts for the siblings of one other pool. Throws the reason if its mappings cannot be read.
  void count_elsewhere(const PlanLimits& limits, const PlanRuns& plan,
                       std::vector<Sibling>& siblings);
  void refuse_harmed_elsewhere(Journal& journal, const PlanReport& plan);
  PlanRuns planned_runs(State& state, const PlanLimits& limits) const;
  // The runs of the plan, in order. `last` is the last journal of the target, for a copy.
  std::unique_ptr<RunSource> runs_of(State& state, const PlanLimits& limits, const Journal* last,
                                     std::function<void(const Mapping&)> left_out = {}) const;
  std::unique_ptr<CopyRuns> copy_runs_of(State& state, const PlanLimits& limits,
                                         const Journal* last,
                                         std::function<void(const Mapping&)> left_out = {}) const;
  // A copy: a sample of all that the plan leaves out must be on the target already.
  void refuse_other_contents(State& state, BlockDevice& target, const MergeRecord& wanted,
                             const Journal* last) const;
  // A copy: the external origin must be as it was when the copy was begun.
  void refuse_changed_origin(const Journal& journal) const;
  // The journal whose state the target of a copy has; null if there is none.
  const Journal* base_journal(const Journal* last) const;
  // Whether that is the journal of another target (Job::since).
  bool starts_from_other(const Journal* last) const { return job_.since && !last; }
  // Gives siblings that the merge would change their own copies, if that is wanted. Returns whether
  // it did: then the pool's metadata has changed.
  bool keep_siblings(const PlanReport& plan);
  void copy_up_elsewhere(const std::string& pool, const std::vector<ThinId>& ids,
                         const PlanLimits& limits, const PlanRuns& plan, BlockDevice& origin);
  std::shared_ptr<BlockDevice> claim_origin(const PlanReport& plan);
  // The origin may have new users since the plan was made.
  void refuse_new_users(const PlanReport& plan);
  // The origin's users, the thin, or the mappings of its siblings may have changed since the plan
  // was made.
  void refuse_changes_meanwhile(State& state, Journal& journal, const MergeRecord& merged,
                                const PlanReport& plan);
  void refuse_changed_pool(State& state, Journal& journal, const MergeRecord& merged,
                           const PlanReport& plan);
  std::unique_ptr<State> state_again(const MergeRecord& record) const;
  std::vector<Sibling> siblings_to_ask_again(const PlanReport& plan) const;
  void refuse_newly_harmed(const Sibling& sibling, State& now, Journal& journal);
  void refuse_stale_plan(State& state, const MergeRecord& wanted) const;
  void refuse_changed_source(State& state, const MergeRecord& record, const PlanReport& plan) const;
  std::unique_ptr<Journal> begin_or_go_on(State& state, BlockDevice& origin,
                                          const MergeRecord& wanted, MergeReport& report);
  // `last` is the journal that a round follows.
  std::unique_ptr<Journal> begin_journal(State& state, BlockDevice& origin, MergeRecord wanted,
                                         Journal* last);
  // Where the origin first differs from the journal's plan below `end`: all of it, or a sample.
  std::optional<Bytes> find_difference(Journal& journal, State& state, BlockDevice& origin,
                                       Bytes end, bool in_full);
  void refuse_unmerged(Journal& journal, State& state, BlockDevice& origin,
                       const MergeRecord& wanted);
  uint64_t fingerprint(Journal& journal, BlockDevice& origin) const;
  // Whether the origin has the fingerprint of the merge that is done.
  bool is_as_merged(Journal& done, BlockDevice& origin) const;
  std::unique_ptr<UndoLog> open_undo_log(Journal& journal);
  bool undo_log_exists(const Journal* journal) const;
  // For --restart with a plan that cannot be read: refuses if an undo log would be lost.
  void refuse_to_lose_undo() const;
  // Null if the origin is inactive and nothing below it can be read.
  std::shared_ptr<BlockDevice> open_readable_origin() const;
  void draw_map(State& state, const Journal* last, PlanReport& plan) const;
  UndoLogEstimate estimate_undo_log(State& state, const Journal* last,
                                    const PlanReport& plan) const;
  // The room that a new merge needs: where the origin allocates it, and for an undo log.
  void plan_room(State& state, const Journal* last, PlanReport& report);
  void plan_undo_log(State& state, const Journal* last, PlanReport& report) const;
  void refuse_other_origin(const Journal& journal);
  void refuse_other_size(const Journal& journal) const;
  void refuse_container(const Journal& journal, const UndoSize& found) const;
  void refuse_undo(Journal& journal);
  std::shared_ptr<BlockDevice> claim_for_undo(Journal& journal);
  JournalProgress copy(Journal& journal, State& state, BlockDevice& origin);
  // Compares as far as it is wanted. Returns how much of the state is compared by now.
  Verified verify_merged(Journal& journal, State& state, BlockDevice& origin,
                         const PlanSpool* everything, bool goes_on);
  std::optional<Bytes> compare_all(ExtentSource& extents, Bytes bytes, State& state,
                                   BlockDevice& origin);
  // The runs of the whole state, where these are to be compared and the journal has fewer.
  std::unique_ptr<PlanSpool> spool_everything(State& state, const Journal& journal,
                                              const MergeRecord& wanted) const;

  Job job_;
  MergeOptions options_;
  bool must_resume_ = false;
  Progress& progress_;
  std::stop_token stop_;
  // Whether an export was written to since is asked once, when it is claimed.
  bool decides_later_ = false;
};

// kSharedOrigin, for a sibling that the merge harms although the plan did not.
Error newly_harmed(const Sibling& sibling);

// A job that finishes the merge in `record`, with its paths, thin id and root choice. The caller
// fills in facts, custody and journal place.
Job job_of(const MergeRecord& record);

}  // namespace extmerge
