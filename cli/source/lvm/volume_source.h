// SPDX-License-Identifier: GPL-3.0-or-later
//
// VG/SNAP on a live pool. The merge reads a freeze: an internal, read-only snapshot of SNAP. So
// SNAP may stay mounted, and may be written to, activated or even removed during the merge. If LVM
// refuses the freeze (a full pool), an inactive SNAP is merged itself. Its activation-skip flag
// then keeps it inactive.
//
//   before                what is recorded in JOURNAL.lvm, and then done
//   plan                  "holding"; metadata snapshot reserved, mappings read, released
//   merge                 freeze named; lvcreate; origin marked: activation-skip and tag; a node
//                         to write through (cli/source/lvm/writable_origin.h); then as for plan,
//                         and copied
//   done                  that node gone; mark removed; freeze removed
//   undo                  origin marked and writable, as for a merge; then the same
//
// A killed run leaves any prefix of that. The next one, of whatever command, first puts
// right what can be told from the record (see the constructor and clear_leftovers()).

#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "cli/source/lvm/intents.h"
#include "cli/source/lvm/origin_pool.h"
#include "cli/source/lvm/rest.h"
#include "cli/source/lvm/writable_origin.h"
#include "cli/source/named_source.h"

namespace extmerge {

class VolumeSource final : public NamedSource {
 public:
  // `name` is VG/SNAP. Lists its group unless `listed` is that group. Takes the journal's lock, and
  // activates the pool if it is inactive.
  VolumeSource(const Request& request, const std::string& name, const Group& listed = {});
  ~VolumeSource() override;

  std::string thin_name() const override { return volume_.snap.full_name(); }
  std::string origin_name() const override { return volume_.origin.full_name(); }
  bool is_unfinished() const override;
  bool must_restart() const override;

  Job plan_job() override;
  Job verify_job() override;
  void check_still() const override;
  void complete_plan(PlanReport& report) const override;
  Job merge_job() override;
  Job resume_job() override;
  Job undo_job() override;
  void done() override;
  void undone() override;
  Error failed(const Error& error) override;

  bool has_leftovers() const override { return changes_.has_lasting() || changes_.is_holding(); }
  Earlier clear_leftovers() override;
  void check_finish(bool may_be_open) const override;
  void begin_finish() override;
  bool is_as_merged() override;
  bool is_frozen() const override { return !changes_.freeze.empty(); }
  std::string finish() override;
  bool is_open() const override { return is_open_now(volume_.snap); }
  void set_waiting(bool waits) override;
  bool close() override;
  void abort() override;
  std::string next_steps() const override;
  std::vector<std::string> given_up() const override;
  void describe_chain(PlanReport& report) const override;

  // Through the node where that is the origin.
  std::shared_ptr<BlockDevice> open(const DeviceFacts& facts, OpenMode mode,
                                    Bytes ends_multiple_of) override;
  void look_again(Job& job) override;
  PoolDevices reserve_pool(const std::string& pool) override;
  void release_pool() override { sibling_hold_.reset(); }
  std::vector<std::shared_ptr<BlockDevice>> open_siblings(const std::string& pool,
                                                          const std::vector<ThinId>& ids) override;
  void close_siblings() override;
  Refusal judge_room(const PlanSummary& plan) override { return origin_pool_.judge(plan); }
  void check_origin() override;
  void check_claim() override { copies() ? Source::check_claim() : check_origin(); }

 private:
  // Whether the record is of a merge of this volume.
  bool is_ours() const;
  // The thin that the record says is being merged; nothing if that is not known.
  std::optional<ThinName> merged_thin() const;
  // The thin id of the last freeze whose merge is done.
  std::optional<uint64_t> merged_id() const;
  // The volume, its pool and its origin as they are now; it may have been renamed.
  void look_at_volumes();
  // Whether another extmerge may have changed the group since it was listed.
  bool is_listing_old() const;
  const LogicalVolume* frozen() const { return intents_.freeze(); }
  void reclaim_other_pool();
  void open_pool();
  // Activates another pool, which has siblings, if it is inactive.
  ThinPool open_sibling_pool(const LogicalVolume& pool);
  uint64_t device_of_pool(const LogicalVolume& pool) const;
  void check_transaction(const LogicalVolume& pool, const PoolStatus& status) const;
  // Releases the metadata snapshot of another pool that a killed run left.
  void reclaim_sibling_pool();
  void put_back_activation();
  // With a thin over the origin active for a moment, if none is.
  void open_node(OriginNode::Use use);
  // A copy: the origin is only read, and nothing in the group is marked.
  bool copies() const { return !target_.empty(); }
  OriginNode::Use use_of_origin() const {
    return copies() ? OriginNode::Use::kRead : OriginNode::Use::kWrite;
  }
  std::string destination();
  void find_target();
  // Throws kForeignJournal if the record is of another volume.
  void check_record() const;
  Refusal judge_half_merged() const;
  // The origin as something to read for a copy.
  DeviceFacts copied_origin() const;
  std::optional<uint64_t> lasting_layer() const;
  void check_pool_room();
  Error activated() const;
  Job base_job(ThinId id, const Look& origin);
  DeviceFacts origin_facts() const;
  bool is_in_use() const { return is_active_now(volume_.snap); }
  // SNAP was removed, and what is named is what was frozen of it.
  bool is_freeze() const { return frozen() && frozen()->uuid == volume_.snap.uuid; }
  void check_activation() const;
  void check_layer() const;
  void judge_freeze(PlanReport& report) const;
  // Refuses siblings that cannot get their own copies.
  void judge_siblings(PlanReport& report) const;
  // Refuses what lies past the origin's end, if the origin cannot be extended by it.
  void look_at_rest(PlanReport& report) const;
  // One that this command has activated, and one whose own node takes no writes.
  std::shared_ptr<BlockDevice> claim_sibling(const LogicalVolume& sibling);
  std::shared_ptr<BlockDevice> open_hidden(const LogicalVolume& sibling, const ThinPool& pool,
                                           std::optional<uint64_t> origin);
  // --finish: what SNAP has past the origin's end.
  void put_rest_aside(RestMover& mover);
  // Throws if another volume reads SNAP, or if a volume that is given up has changed.
  void check_removable() const;
  // Just before the end. Throw kThinOpen, kStale.
  Error was_activated() const;
  void refuse_activated() const;
  void refuse_written();
  // finish() of a copy: SNAP stays, inactive.
  std::string retire();
  std::string release_all(RestMover& mover, const std::string& name);
  void check_siblings() const;
  void forget_siblings();
  // Removes the hidden nodes that a killed run left.
  void clear_sibling_nodes() const;
  void judge_copies(PlanReport& report, const LogicalVolume& pool, uint64_t blocks) const;
  std::set<std::string> recorded_freezes() const;
  void leave_out_freeze(std::vector<OriginUser>& users) const;
  void leave_out_own(std::vector<OriginUser>& users) const;
  // The older volumes of the chain that the merge gives up, the newest first.
  std::vector<LogicalVolume> given_up_volumes() const;
  bool may_have_written() const;
  void complete_chain(PlanReport& report) const;
  void find_own_members();
  void check_members() const;
  void give_up_members();
  void check_members_are_marked() const;
  void name_record(SystemChanges& changes) const;
  void begin_record();
  // The mappings of SNAP or of the freeze. A write to SNAP after the freeze gives SNAP another
  // root.
  struct Mappings {
    MetadataBlock root;
    uint64_t blocks = 0;
    friend bool operator==(const Mappings&, const Mappings&) = default;
  };
  // As the pool has them now; nothing for a thin that it does not have.
  std::vector<std::optional<Mappings>> mappings_of(const std::vector<uint64_t>& thin_ids);
  void put_back_merge();
  enum class ThinUse { kStill, kAny };
  void make_node();
  // Notes what is known of the origin's legs and of its own pool.
  void look_below_origin(PlanReport& report) const;
  // Throws kUnfitOrigin if the origin has lost data; warns if it is degraded.
  void check_legs();
  // The origin is not written any more.
  void drop_node();
  Job prepare(ThinId id, ThinUse use = ThinUse::kStill);

  std::string target_;  // of a copy: its path
  bool whole_ = false;
  Lvm lvm_;
  ThinVolume volume_;
  Intents intents_;
  std::vector<LogicalVolume> members_;        // that --with names, as they were listed then
  std::vector<LogicalVolume> kept_inactive_;  // all that are given up, while the origin is written
  std::unique_ptr<OriginNode> node_;
  OriginPool origin_pool_;
  std::optional<ThinUse> writing_;  // while the origin is written through the node
  std::optional<std::chrono::steady_clock::time_point> listed_at_;  // for the first look_again()
  std::mutex checking_;            // check_origin() is called from two threads
  bool finishing_ = false;         // SNAP is kept inactive until it is removed
  bool is_to_be_removed_ = false;  // all is merged; mark and freeze go with SNAP
  // Siblings that get their own copies of blocks: their pool, and those that no other program may
  // begin to write to.
  struct Receiving {
    ThinPool pool;
    std::vector<LogicalVolume> siblings;
  };
  std::optional<Receiving> receiving_;
  std::unique_ptr<MetadataHold> sibling_hold_;
  std::string told_of_legs_;
  std::optional<Mappings> merged_mappings_;  // of SNAP when it was found to be as merged
  // abort: why the pool could not be worked with.
  std::optional<Error> pool_failure_;
};

// Completes a --finish that was killed after SNAP had been removed; nothing if there is
// nothing of the kind for that name.
struct CompletedRemoval {
  std::string journal, outcome;
};
std::optional<CompletedRemoval> complete_removal(const Request& request, const std::string& source);

// Puts back what the record says was changed, where neither the volume nor its freeze is
// there any more. Takes its lock. Throws kNothingToResume where all is merged and only --finish is
// not complete.
void put_back_recorded(const Request& request, RecordedChanges& recorded);

}  // namespace extmerge
