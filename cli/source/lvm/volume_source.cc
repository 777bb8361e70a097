// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/volume_source.h"

#include <spdlog/spdlog.h>

#include <cstdio>
#include <utility>

#include "cli/source/lvm/chain.h"
#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "cli/source/source.h"
#include "io/text.h"

namespace extmerge {

namespace {

// In seconds. Planning a large volume takes longer, and then the group is listed again.
constexpr double kStaleListing = 3;

// After the journal that is to be begun: the first half of its nonce.
std::string freeze_name(uint64_t nonce) {
  char text[32];
  std::snprintf(text, sizeof text, "extmerge_%08x", static_cast<unsigned>(nonce >> 32));
  return text;
}

}  // namespace

VolumeSource::VolumeSource(const Request& request, const std::string& name, const Group& listed)
    : NamedSource(request),
      target_(request.target),
      whole_(request.whole),
      lvm_(request.stop),
      volume_(find_thin_volume(lvm_, name, listed)),
      intents_(request, lvm_, volume_, recorded_) {
  place_ = place_of(request_, destination(), StateDirectory::kCreate);
  const bool has_waited = lock_place_patiently(place_, request_);
  const auto recorded = read_changes(*place_.directory, place_.name);
  traces_.begin(recorded);
  changes_ = recorded.value_or(SystemChanges{});
  find_target();
  if (has_waited || is_listing_old()) look_at_volumes();
  changes_.waiting = false;  // the run that waited is gone
  if (changes_.vg.empty()) name_record(changes_);
  check_record();
  find_own_members();
  leave_out_own(volume_.origin_users);
  // The lock is ours, and another state directory's merge has its node: what is writable was left
  // so by a run that was killed.
  if (changes_.origin_marked) {
    refuse_other_merge(volume_.origin);
    clear_sibling_nodes();
    clear_origin_nodes(volume_.origin);
  } else if (has_leftovers()) {
    clear_reading_node(volume_.origin);
  }
  // After a reboot what is active is so because somebody wants it so.
  if (changes_.boot != boot_id()) {
    changes_.pool_was_active = true;
    changes_.thin_was_active = changes_.origin_activated = false;
    changes_.carrier.clear();
    changes_.siblings.clear();
    changes_.sibling_pools.clear();
  }
  try {
    reclaim_other_pool();
    intents_.put_back({Intent::kSiblings, Intent::kCarrier, Intent::kOrigin});
    reclaim_sibling_pool();
    open_pool();
    has_reclaimed_ |= reclaim_metadata_snapshot(recorded_);
  } catch (const Error& error) {
    if (request_.command != Command::kAbort || error.id() == MessageId::kStopped) {
      put_back_activation();
      throw;
    }
    pool_failure_ = error;
  } catch (...) {
    put_back_activation();
    throw;
  }
}

VolumeSource::~VolumeSource() {
  hold_.reset();
  sibling_hold_.reset();
  drop_node();
  put_back_activation();
}

void VolumeSource::look_at_volumes() {
  volume_.list_again(lvm_);
  volume_.group.check();
  if (!volume_.group.find_by_uuid(volume_.snap.uuid)) {
    throw Error(MessageId::kNotFound, thin_name() + " was removed",
                "see lvs -a " + volume_.snap.vg + " and extmerge status");
  }
  const std::string name = volume_.snap.name;
  volume_ = find_thin_volume(std::move(volume_.group), name);
  find_own_members();
  leave_out_own(volume_.origin_users);
}

// The group is listed before the lock is taken, since the lock's name depends on the origin.
// Another extmerge that ended in between is noticed in one of three ways. A freeze that was made or
// removed changes the pool's transaction id. A mark that was removed is still in the listing. A
// change that a kill left is in the record. Whether a volume is active is asked of device-mapper
// when it matters.
bool VolumeSource::is_listing_old() const {
  if (changes_.has_lasting() || changes_.is_borrowing()) return true;
  if (volume_.origin.has_tag(kHalfMergedTag)) return true;
  const auto pool = find_dm_device(volume_.pool.dm_uuid("-tpool"));
  return pool && volume_.pool.transaction_id &&
         *volume_.pool.transaction_id != pool_status(*pool).transaction_id;
}

void VolumeSource::name_record(SystemChanges& changes) const {
  changes.vg = volume_.snap.vg;
  changes.thin = volume_.snap.name;
  changes.thin_uuid = volume_.snap.uuid;
  changes.origin = volume_.origin.name;
  changes.origin_uuid = volume_.origin.uuid;
  changes.target = copies() ? target_path(target_) : "";
  changes.whole = whole_;
}

bool VolumeSource::is_ours() const {
  return changes_.thin_uuid == volume_.snap.uuid || is_freeze();
}

std::optional<ThinName> VolumeSource::merged_thin() const {
  if (const auto frozen = intents_.frozen_thin()) return frozen;
  if (!changes_.freeze.empty()) return {};  // killed before LVM had made it, or just after
  return ThinName{static_cast<ThinId>(*volume_.snap.thin_id),
                  volume_.snap.transaction_id.value_or(0)};
}

std::optional<uint64_t> VolumeSource::merged_id() const {
  const auto begun = intents_.journal();
  const bool is_merged = changes_.freeze_id && begun && begun->state == JournalState::kDone &&
                         begun->thin == merged_thin();
  return is_merged ? changes_.freeze_id : changes_.merged_id;
}

bool VolumeSource::is_unfinished() const {
  // Without a freeze, writes to SNAP in place since then leave no trace.
  if (!is_ours() || !changes_.freeze_id) return false;
  if (!copies() && !changes_.origin_marked) return false;
  if (!frozen()) return false;
  const auto begun = intents_.journal();
  return begun && begun->state == JournalState::kCopying && begun->thin == merged_thin();
}

bool VolumeSource::must_restart() const {
  const auto begun = intents_.journal();
  return is_ours() && begun && begun->state == JournalState::kCopying && !is_unfinished();
}

// As it is now: with a device of its own, or only a name and a size.
DeviceFacts VolumeSource::origin_facts() const {
  DeviceFacts facts;
  const auto top = find_dm_device(volume_.origin.dm_uuid());
  if (top && !is_hidden(*top)) {
    facts = facts_of_device(*top);
  } else {
    facts.path = "/dev/" + origin_name();
    facts.exists = facts.is_block = true;
    facts.size = volume_.origin.size;
    facts.identity = volume_.origin.identity();
  }
  // LVM's own flag on an external origin; the merge lifts it.
  facts.read_only = false;
  return facts;
}

std::shared_ptr<BlockDevice> VolumeSource::open(const DeviceFacts& facts, OpenMode mode,
                                                Bytes ends_multiple_of) {
  if (node_ && facts.device_number == node_->device_number())
    return node_->open(mode, ends_multiple_of);
  return Source::open(facts, mode, ends_multiple_of);
}

// Asked at every checkpoint, with transfers in flight: no command is run.
void VolumeSource::check_origin() {
  if (!node_) return;
  const std::lock_guard guard(checking_);
  if (copies()) return writing_ ? check_pool_room() : void();
  node_->check();
  if (receiving_) return check_siblings();
  if (!writing_) return;  // it is only kept
  check_inactive(kept_inactive_);
  if (*writing_ == ThinUse::kAny) return;
  origin_pool_.check();
  check_pool_room();
}

Job VolumeSource::prepare(ThinId id, ThinUse use) {
  hold_.reset();
  if (copies()) {
    if (use == ThinUse::kStill) open_node(OriginNode::Use::kRead);
  } else {
    make_node();
    check_legs();
  }
  reserve_mappings();
  kept_inactive_ = given_up_volumes();
  writing_ = use;
  return base_job(id, [this] { return node_->facts(); });
}

void VolumeSource::make_node() {
  if (node_) return node_->check(OriginNode::Changer::kOurselves);
  open_node(OriginNode::Use::kWrite);
}

void VolumeSource::look_again(Job& job) {
  if (!writing_) return Source::look_again(job);
  const bool must_be_still = *writing_ == ThinUse::kStill;
  if (!copies()) node_->check();
  check_inactive(kept_inactive_);
  Source::look_again(job);
  if (must_be_still && changes_.freeze.empty() && find_dm_device(volume_.snap.dm_uuid())) {
    throw activated();
  }
  if (copies()) return;  // who else reads the origin does not matter
  // LVM lets anyone make a new snapshot of the origin at any time; and SNAP may be gone.
  // done() and finish() go by the last listing, too.
  const auto listed = std::exchange(listed_at_, std::nullopt);
  if (!listed || seconds_since(*listed) > kStaleListing) volume_.list_again(lvm_);
  const Group& group = volume_.group;
  if (const LogicalVolume* const origin = group.find_by_uuid(volume_.origin.uuid)) {
    job.origin_users = group.users_of(origin->name, volume_.pool.name);
    leave_out_own(*job.origin_users);
  }
  const bool is_undone_under = !must_be_still && !group.find_by_uuid(volume_.snap.uuid);
  if (is_undone_under && !request_.merge.overrides.allow_removed_snapshot) {
    throw Error(
        MessageId::kSnapshotGone,
        thin_name() + " was removed just now, so the origin holds the only copy of its state",
        "to give that state up, add --allow-removed-snapshot");
  }
  check_layer();
}

void VolumeSource::drop_node() {
  forget_siblings();
  writing_.reset();
  node_.reset();
}

void VolumeSource::begin_record() {
  if (!is_ours()) intents_.put_back({Intent::kThin});
  SystemChanges next;
  name_record(next);
  next.pool = changes_.pool;
  next.pool_uuid = changes_.pool_uuid;
  next.pool_was_active = changes_.pool_was_active;
  next.sibling_pools = changes_.sibling_pools;
  next.boot = changes_.boot;
  next.origin_marked = changes_.origin_marked;
  next.origin_was_active = changes_.origin_was_active;
  next.origin_skipped_activation = changes_.origin_skipped_activation;
  next.thin_kept_inactive = changes_.thin_kept_inactive;
  next.thin_was_active = changes_.thin_was_active;
  if (is_ours()) {
    next.merged_id = merged_id();
    next.rest = changes_.rest;
  }
  if (!uses_held_snapshot()) {
    place_.nonce = random_nonce();
    next.freeze = freeze_name(*place_.nonce);
  }
  changes_ = next;
  if (!copies()) intents_.record_origin();
  recorded_.write();
}

Job VolumeSource::merge_job() {
  hold_.reset();
  is_to_be_removed_ = false;
  const bool has_frozen = is_freeze();
  if (!node_) refuse_other_merge(volume_.origin, use_of_origin());
  if (!has_frozen) {
    // The freeze of a merge that restarts from the beginning. Planning and asking took time, and it
    // may be the only copy by now.
    intents_.put_back({Intent::kFreeze}, Intents::Listing::kOld);
    begin_record();
  }
  try {
    if (has_frozen) {
      changes_.freeze_id = volume_.snap.thin_id;
      changes_.freeze_transaction = volume_.snap.transaction_id.value_or(0);
      if (!copies()) intents_.record_origin();
      recorded_.write();
    } else if (changes_.freeze.empty()) {
      intents_.keep_thin_inactive();
    } else {
      intents_.make_freeze();
    }
    give_up_members();
    if (copies()) {
      volume_.list_again(lvm_);
    } else {
      if (!node_) intents_.mark_origin();
      intents_.check_mark();
    }
    listed_at_ = std::chrono::steady_clock::now();
    if (!has_frozen) intents_.record_freeze();
    check_members_are_marked();
    check_members();
    volume_.find_origin_users();
    leave_out_own(volume_.origin_users);
    return prepare(merged_thin()->id);
  } catch (const Error& error) {
    throw failed(error);
  }
}

Job VolumeSource::resume_job() {
  const std::string begin_again =
      copies() ? "copy " + std::string(whole_ ? "--whole " : "") + thin_name() + " " + target_
               : "merge " + thin_name();
  if (must_restart()) {
    throw Error(MessageId::kStale,
                "the state of " + thin_name() + " that was being " +
                    (copies() ? "copied" : "merged") + " is gone",
                "restart from the beginning: extmerge " + begin_again);
  }
  if (!is_unfinished()) {
    throw Error(
        MessageId::kNothingToResume,
        "no " + std::string(copies() ? "copy" : "merge") + " of " + thin_name() + " is unfinished",
        "begin one: extmerge " + begin_again +
            (copies() ? "" : unfinished_copies(request_, volume_.snap.uuid)));
  }
  give_up_members();
  return prepare(merged_thin()->id);
}

void VolumeSource::done() {
  hold_.reset();
  writing_.reset();
  if (!keeps_claim_ || copies()) drop_node();
  // finish() removes SNAP and the freeze together. Until then nothing may hide a write to SNAP.
  is_to_be_removed_ = finishing_;
  if (finishing_) return;
  std::set<Intent> merged = {Intent::kFreeze};
  if (!keeps_claim_) merged.insert({Intent::kMark, Intent::kThin});
  intents_.put_back(merged);
}

Error VolumeSource::failed(const Error& error) {
  hold_.reset();
  // An older journal may still be unfinished if this merge was to restart from the beginning.
  const auto begun = intents_.journal();
  const bool unfinished = begun && is_under_way(begun->state);
  const bool ours = unfinished && begun->thin == merged_thin();
  Error result = error;
  try {
    if (node_ && !copies()) node_->check();
    if (writing_ && !copies() && error.exit_status() == 7) origin_pool_.check();
  } catch (const Error& taken) {
    // This explains a write that seems to have failed.
    if (taken.id() == MessageId::kOriginTakenBack || taken.id() == MessageId::kOriginPoolFull) {
      result = Error(taken.id(), taken.what(),
                     taken.next() + (ours && is_frozen() && request_.command != Command::kUndo
                                         ? "; resume the merge: extmerge resume " + thin_name()
                                         : "; run the same command again"));
    }
  }
  drop_node();
  // A freeze that is named itself is kept: what it was frozen from is gone.
  std::set<Intent> of_no_use;
  if (!unfinished) of_no_use = {Intent::kMark, Intent::kThin};
  const bool freeze_is_of_use = ours && error.id() != MessageId::kPoolFull;
  if (!freeze_is_of_use && !is_freeze()) of_no_use.insert(Intent::kFreeze);
  if (!may_have_written()) of_no_use.insert(Intent::kMembers);
  try {
    intents_.put_back(of_no_use, Intents::Listing::kOld);
  } catch (const Error& second) {
    if (std::string(second.what()) != error.what()) spdlog::error("{}", printable(second.what()));
  }
  return result;
}

}  // namespace extmerge
