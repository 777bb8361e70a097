// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/volume_source.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/source/devices.h"
#include "cli/source/dm/dm_source.h"
#include "cli/source/dm/tables.h"
#include "cli/source/places.h"
#include "cli/source/source.h"
#include "io/text.h"

namespace extmerge {

namespace {

std::string identity_of(const LogicalVolume& volume) { return "dm:" + volume.dm_uuid(); }

uint64_t free_blocks(const PoolStatus& status) {
  return status.total_data - std::min(status.used_data, status.total_data);
}

// Less than a fiftieth is free: too little to begin with, and a freeze is given up.
bool is_nearly_full(const PoolStatus& status) {
  return free_blocks(status) * 50 < status.total_data;
}

// LVM has no way to grow it as long as it is an external origin.
Error beyond_origin(const Error& error, const ThinVolume& volume) {
  const std::string name = volume.snap.full_name();
  return Error(error.id(), error.what(),
               "LVM cannot grow an external origin. Unmount the snapshot and copy it whole "
               "instead: lvcreate -L " +
                   std::to_string(volume.snap.size.value()) + "b -n NEW " + volume.snap.vg +
                   " && dd if=/dev/" + name + " of=/dev/" + volume.snap.vg +
                   "/NEW bs=4M oflag=direct conv=fsync; or give that data up with "
                   "--beyond-origin=drop");
}

}  // namespace

VolumeSource::VolumeSource(const Request& request, const std::string& name)
    : NamedSource(request), lvm_(request.stop), volume_(find_thin_volume(lvm_, name)) {
  place_ = place_of(request_, identity_of(volume_.origin), StateDirectory::kCreate);
  lock_place_patiently(place_, request_);
  look_at_volumes();  // another command may have changed them while it had the lock
  const auto recorded = read_changes(*place_.directory, place_.name);
  traces_.begin(recorded);
  changes_ = recorded.value_or(SystemChanges{});
  if (changes_.vg.empty()) name_record(changes_);
  if (changes_.origin_uuid != volume_.origin.uuid) {
    throw Error(MessageId::kForeignJournal,
                changes_name(place_.path) + " is the record of a merge into " +
                    changes_.origin_name() + ", not into " + origin_name(),
                "name another file with --journal");
  }
  leave_out_freeze(volume_.origin_users, volume_.volumes);
  // The lock is ours, and another state directory's merge has its node: what is writable was left
  // so by a run that was killed.
  if (changes_.origin_marked) {
    refuse_other_merge(volume_.origin);
    clear_origin_nodes(volume_.origin);
  }
  // After a reboot what is active is so because somebody wants it so.
  if (changes_.boot != boot_id()) {
    changes_.pool_was_active = true;
    changes_.thin_was_active = changes_.origin_activated = false;
    changes_.carrier.clear();
  }
  try {
    settle_other_pool();
    settle_carrier();
    settle_activation();
    activate_pool();
    has_reclaimed_ |= reclaim_metadata_snapshot(changes_, [this] { note(); });
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
  drop_node();
  put_back_activation();
}

void VolumeSource::look_at_volumes() {
  list_again();
  check_group(volume_.volumes);
  if (!find_by_uuid(volume_.volumes, volume_.snap.uuid)) {
    throw Error(MessageId::kNotFound, thin_name() + " was removed",
                "see lvs -a " + volume_.snap.vg + " and extmerge status");
  }
  const std::string name = volume_.snap.name;
  volume_ = find_thin_volume(lvm_, std::move(volume_.volumes), name);
  leave_out_freeze(volume_.origin_users, volume_.volumes);
}

void VolumeSource::list_again() {
  volume_.volumes = group_with(lvm_, volume_.snap.vg, {volume_.origin.uuid, volume_.snap.uuid});
  for (LogicalVolume* const one : {&volume_.snap, &volume_.pool, &volume_.origin}) {
    const LogicalVolume* const now = find_by_uuid(volume_.volumes, one->uuid);
    if (!now) continue;
    one->vg = now->vg;
    one->name = now->name;
  }
}

void VolumeSource::name_record(SystemChanges& changes) const {
  changes.vg = volume_.snap.vg;
  changes.thin = volume_.snap.name;
  changes.thin_uuid = volume_.snap.uuid;
  changes.origin = volume_.origin.name;
  changes.origin_uuid = volume_.origin.uuid;
}

void VolumeSource::note() const {
  if (!is_forgotten_) NamedSource::note();
}

std::optional<VolumeSource::Begun> VolumeSource::journal_state(bool to_act_on_it) const {
  try {
    const auto journal = Journal::open(*place_.directory, place_.name, to_act_on_it, false);
    if (!journal) return {};
    const MergeRecord& record = journal->record();
    return Begun{journal->state(), {record.thin_id, record.transaction_id}};
  } catch (const Error& error) {
    // --restart replaces a journal that cannot be read. Until then the merge in it counts as
    // unfinished, and as that of another thin.
    const bool is_replaced = is_unreadable_journal(error) && request_.merge.restart &&
                             Journal::is_ours(*place_.directory, place_.name);
    if (!is_replaced) throw;
    return Begun{JournalState::kCopying, {static_cast<ThinId>(UINT32_MAX), 0}};
  }
}

bool VolumeSource::is_ours() const {
  return changes_.thin_uuid == volume_.snap.uuid || is_freeze();
}

std::optional<VolumeSource::ThinName> VolumeSource::merged_thin() const {
  if (changes_.freeze_id) {
    return ThinName{static_cast<ThinId>(*changes_.freeze_id), changes_.freeze_transaction};
  }
  if (!changes_.freeze.empty()) return {};  // killed before LVM had made it, or just after
  return ThinName{static_cast<ThinId>(*volume_.snap.thin_id),
                  volume_.snap.transaction_id.value_or(0)};
}

std::optional<uint64_t> VolumeSource::merged_id() const {
  const auto begun = journal_state();
  const bool is_merged = changes_.freeze_id && begun && begun->state == JournalState::kDone &&
                         begun->thin == merged_thin();
  return is_merged ? changes_.freeze_id : changes_.merged_id;
}

bool VolumeSource::is_unfinished() const {
  // Without a freeze, writes to SNAP in place since then leave no trace.
  if (!is_ours() || !changes_.origin_marked || !changes_.freeze_id) return false;
  if (!frozen()) return false;
  const auto begun = journal_state();
  return begun && begun->state == JournalState::kCopying && begun->thin == merged_thin();
}

bool VolumeSource::must_begin_anew() const {
  const auto begun = journal_state();
  return is_ours() && begun && begun->state == JournalState::kCopying && !is_unfinished();
}

// As it is now: with a device of its own, or only a name and a size.
DeviceFacts VolumeSource::origin_facts() const {
  DeviceFacts facts;
  const auto top = find_dm_device(volume_.origin.dm_uuid());
  if (top && !is_hidden(*top)) {
    facts = at_number(*top)();
  } else {
    facts.path = "/dev/" + origin_name();
    facts.exists = facts.is_block = true;
    facts.size = volume_.origin.size;
    facts.identity = identity_of(volume_.origin);
  }
  // LVM's own flag on an external origin; the merge lifts it.
  facts.read_only = false;
  return facts;
}

Job VolumeSource::base_job(ThinId id, const Look& origin) {
  Job job;
  job.metadata_path = path_of_device(pool_.metadata);
  job.data_path = path_of_device(pool_.data);
  job.thin_id = id;
  const bool is_frozen_one = frozen() && frozen()->thin_id == value(id);
  job.thin_size = is_frozen_one ? frozen()->size : volume_.snap.size;
  job.root_choice = request_.root_choice;
  job.root_block = request_.root_block;
  look_at_devices(job, at_number(pool_.metadata), at_number(pool_.data), origin);
  job.origin_path = job.origin.path;
  job.data_is_certain = true;
  job.origin_users = volume_.origin_users;
  const auto snap_id = static_cast<ThinId>(volume_.snap.thin_id.value_or(0));
  if (id != snap_id) job.frozen_from = snap_id;
  if (const auto merged = merged_id(); merged && changes_.thin_uuid == volume_.snap.uuid) {
    job.merged_as = static_cast<ThinId>(*merged);
  }
  job.can_be_resumed = is_frozen();
  job.journal = place_;
  job.undo_log = undo_log_asked(request_);
  return job;
}

Job VolumeSource::plan_job() {
  reserve_mappings();
  const bool goes_on = is_unfinished() && !request_.merge.restart;
  const ThinId id = goes_on ? merged_thin()->id : static_cast<ThinId>(*volume_.snap.thin_id);
  Job job = base_job(id, [this] { return origin_facts(); });
  if (job.origin_is_inactive()) {
    job.origin_thins.clear();
    if (const auto layer = find_dm_device(volume_.origin.dm_uuid("-real"))) {
      job.origin_below = at_number(*layer)();
    }
  }
  job.origin_made_writable = true;
  job.will_be_frozen = !goes_on && is_in_use() && !uses_held_snapshot();

  check_activation();
  check_layer();
  return job;
}

// A merge activates a thin over the origin for a moment, and LVM calls it a success where a setting
// forbids that.
void VolumeSource::check_activation() const {
  if (find_dm_device(volume_.origin.dm_uuid("-real"))) return;
  const std::string setting = lvm_.activation_hindrance(volume_.snap);
  if (!setting.empty()) throw activation_forbidden(volume_.snap, setting);
}

// Refuses if another device than the origin and the thins that LVM knows lies over the layer: it
// belongs to somebody else's stack.
void VolumeSource::check_layer() const {
  const auto layer = find_dm_device(volume_.origin.dm_uuid("-real"));
  if (!layer) return;
  const std::string group = volume_.origin.dm_uuid().substr(0, 4 + 32);  // "LVM-", the group's
  for (const Holder& holder : at_number (*layer)().holders) {
    const auto table = read_dm_table(holder.device_number);
    const bool over_thin = table && is_thin(*table);
    if (table && table->uuid.starts_with(volume_.origin.dm_uuid())) continue;
    if (over_thin &&
        (table->uuid.starts_with(group) || request_.merge.overrides.allow_shared_origin))
      continue;
    throw Error(over_thin ? MessageId::kSharedOrigin : MessageId::kHeld,
                "the origin " + origin_name() + " is in use by " + holder.name,
                over_thin
                    ? "LVM does not know that thin: take it down, or accept that it may change "
                      "with --allow-shared-origin"
                    : "take that device down first (lsblk shows the stack)");
  }
}

std::shared_ptr<BlockDevice> VolumeSource::open(const DeviceFacts& facts, OpenMode mode,
                                                Bytes ends_multiple_of) {
  if (node_ && facts.device_number == node_->device_number())
    return node_->open(mode, ends_multiple_of);
  return Source::open(facts, mode, ends_multiple_of);
}

Job VolumeSource::verify_job() {
  node_ = std::make_unique<OriginNode>(volume_.origin, OriginNode::Use::kRead, carrier());
  reserve_mappings();
  Job job = base_job(static_cast<ThinId>(*volume_.snap.thin_id), [this] { return node_->facts(); });
  job.journal = {};
  return job;
}

// The freezes of all merges in the state directory, and of this one.
std::set<std::string> VolumeSource::recorded_freezes() const {
  std::set<std::string> freezes = {changes_.freeze, changes_.freeze_uuid};
  for (const RecordedChanges& recorded : all_recorded(request_)) {
    freezes.insert(recorded.changes.freeze);
    freezes.insert(recorded.changes.freeze_uuid);
  }
  return freezes;
}

// The recorded freeze needs no protection while its snapshot exists: that has all its data. A
// freeze that is not in the record may be the only copy of its data, whatever its tags say.
void VolumeSource::leave_out_freeze(std::vector<OriginUser>& users,
                                    const std::vector<LogicalVolume>& volumes) const {
  const LogicalVolume* const freeze = find_freeze(volumes, changes_);
  if (!freeze || !find_by_uuid(volumes, changes_.thin_uuid)) return;
  if (changes_.freeze_id && freeze->thin_id != changes_.freeze_id) return;
  std::erase_if(users, [&](const OriginUser& user) { return user.name == freeze->full_name(); });
}

void VolumeSource::complete_plan(PlanReport& report) const {
  const std::set<std::string> known = recorded_freezes();
  for (const LogicalVolume& volume : volume_.volumes) {
    const bool is_known = known.contains(volume.name) || known.contains(volume.uuid);
    if (!volume.has_tag(kFreezeTag) || is_known) continue;
    report.notes.push_back(volume.full_name() + " is the freeze of a merge that is not known in " +
                           place_.directory->path() +
                           ". Remove it (lvremove) only if its snapshot still exists: otherwise it "
                           "is the only copy of its data");
  }
  for (Error& refusal : report.refusals) {
    if (refusal.id() == MessageId::kBeyondOrigin || refusal.id() == MessageId::kCannotExtend) {
      refusal = beyond_origin(refusal, volume_);
    }
  }
  if (volume_.origin.has_tag(kHalfMergedTag) && !changes_.origin_marked &&
      !request_.merge.restart) {
    // First, since it explains the rest: the freeze of that merge is a thin like any other here.
    report.refusals.insert(
        report.refusals.begin(),
        Error(MessageId::kHalfMerged,
              origin_name() + " is tagged as half merged, by a merge that is not known in " +
                  place_.directory->path(),
              "resume that merge (--state-dir or --journal, where it was begun); if its journal is "
              "lost, restart from the beginning with --restart (and remove its freeze, see lvs -o "
              "+tags)"));
  }
  if (!is_in_use() || is_unfinished() || report.nothing_new) return;
  if (uses_held_snapshot()) {
    report.refusals.push_back(
        Error(MessageId::kThinNotStill,
              thin_name() +
                  " is active, and the metadata snapshot that is held does not contain a freeze",
              "deactivate " + thin_name() + " (lvchange -an), or leave out --metadata-snap"));
    return;
  }
  // At worst every block is written again during the merge, and moves. Long before the pool is
  // full, check_origin() gives the freeze up.
  const PoolStatus status = pool_status(pool_.device_number);
  const uint64_t free = free_blocks(status);
  const uint64_t worst = report.summary.mapped_blocks;
  const std::string room = "freezing " + thin_name() + " can cost up to " + std::to_string(worst) +
                           " blocks of its pool while it is written to; " + std::to_string(free) +
                           " are free";
  if (!is_nearly_full(status)) {
    report.notes.push_back(worst <= free ? room
                                         : room +
                                               "; if the pool fills up, the freeze is given up and "
                                               "the same command restarts from the beginning");
    return;
  }
  report.refusals.push_back(
      Error(MessageId::kPoolFull, room,
            "deactivate " + thin_name() + " (lvchange -an) and run it again, or extend the pool"));
}

// Asked at every checkpoint, with transfers in flight: no command is run.
void VolumeSource::check_origin() {
  if (!writing_) return;
  const std::lock_guard guard(checking_);
  node_->check();
  if (*writing_ == ThinUse::kAny) return;
  // Inactive, SNAP makes the freeze cost nothing; without one it has to stay so.
  if (!find_dm_device(volume_.snap.dm_uuid())) return;
  if (changes_.freeze.empty()) {
    throw Error(MessageId::kThinNotStill, thin_name() + " was activated during the merge",
                "deactivate it, and run the same command again");
  }
  const PoolStatus status = pool_status(pool_.device_number);
  // A pool that has failed or turned read-only is no reason to remove anything.
  if (!status.takes_changes() || !is_nearly_full(status)) return;
  throw Error(MessageId::kPoolFull,
              "the pool " + volume_.pool.full_name() + " is filling up (" +
                  std::to_string(free_blocks(status)) +
                  " free blocks): the freeze is given up to save blocks",
              "extend the pool, or deactivate " + thin_name() + ", and run the same command again");
}

Job VolumeSource::prepare(ThinId id, ThinUse use) {
  hold_.reset();
  node_ = std::make_unique<OriginNode>(volume_.origin, OriginNode::Use::kWrite, carrier());
  reserve_mappings();
  writing_ = use;
  return base_job(id, [this] { return node_->facts(); });
}

void VolumeSource::look_again(Job& job) {
  if (!writing_) return Source::look_again(job);
  const bool must_be_still = *writing_ == ThinUse::kStill;
  node_->check();
  Source::look_again(job);
  if (must_be_still && changes_.freeze.empty() && find_dm_device(volume_.snap.dm_uuid())) {
    throw Error(MessageId::kThinNotStill, thin_name() + " was activated during the merge",
                "deactivate it, and run the same command again");
  }
  // LVM lets anyone make a new snapshot of the origin at any time; and SNAP may be gone.
  const std::vector<LogicalVolume> volumes =
      group_with(lvm_, volume_.snap.vg, {volume_.origin.uuid});
  if (const LogicalVolume* const origin = find_by_uuid(volumes, volume_.origin.uuid)) {
    job.origin_users = users_of_origin(volumes, lvm_.external_origins(origin->vg), origin->name,
                                       volume_.pool.name);
    leave_out_freeze(*job.origin_users, volumes);
  }
  const bool is_undone_under = !must_be_still && !find_by_uuid(volumes, volume_.snap.uuid);
  if (is_undone_under && !request_.merge.overrides.allow_removed_snapshot) {
    throw Error(
        MessageId::kSnapshotGone,
        thin_name() + " was removed just now, so the origin holds the only copy of its state",
        "to give that state up, --allow-removed-snapshot");
  }
  check_layer();
}

void VolumeSource::drop_node() {
  writing_.reset();
  node_.reset();
}

Job VolumeSource::merge_job() {
  hold_.reset();
  const bool has_frozen = is_freeze();
  refuse_other_merge(volume_.origin);
  list_again();  // planning and asking took time
  if (!has_frozen) {
    drop_freeze();  // of a merge that restarts from the beginning
    begin_record();
  }
  try {
    if (has_frozen) {
      changes_.freeze_id = volume_.snap.thin_id;
      changes_.freeze_transaction = volume_.snap.transaction_id.value_or(0);
      if (!changes_.origin_marked) note_origin(changes_);
      note();
    } else {
      freeze();
    }
    mark_origin();
    return prepare(merged_thin()->id);
  } catch (const Error& error) {
    throw failed(error);
  }
}

Job VolumeSource::resume_job() {
  if (must_begin_anew()) {
    throw Error(MessageId::kStale, "the state of " + thin_name() + " that was being merged is gone",
                "restart from the beginning: extmerge merge " + thin_name());
  }
  if (!is_unfinished()) {
    throw Error(MessageId::kNothingToResume, "no merge of " + thin_name() + " is unfinished",
                "begin one: extmerge merge " + thin_name());
  }
  return prepare(merged_thin()->id);
}

void VolumeSource::done() {
  hold_.reset();
  drop_node();
  if (changes_.freeze.empty()) list_again();
  drop_freeze();
  unmark_origin();
  if (!finishing_) release_thin();
}

Error VolumeSource::failed(const Error& error) {
  hold_.reset();
  // An older journal may still be unfinished if this merge was to restart from the beginning.
  const auto begun = journal_state();
  const bool unfinished = begun && is_under_way(begun->state);
  const bool ours = unfinished && begun->thin == merged_thin();
  Error result = error;
  try {
    if (node_) node_->check();
  } catch (const Error& taken) {
    // This explains a write that seems to have failed.
    if (taken.id() == MessageId::kOriginTakenBack) {
      result = Error(taken.id(), taken.what(),
                     taken.next() + (ours && is_frozen() && request_.command != Command::kUndo
                                         ? "; resume the merge: extmerge resume " + thin_name()
                                         : "; run the same command again"));
    }
  }
  drop_node();
  const auto attempt = [&](const std::function<void()>& deed) {
    try {
      deed();
    } catch (const Error& second) {
      if (std::string(second.what()) != error.what()) spdlog::error("{}", printable(second.what()));
    }
  };
  if (!is_put_back()) attempt([this] { list_again(); });
  const bool is_of_use = ours && error.id() != MessageId::kPoolFull;
  if (!is_of_use && !is_freeze()) attempt([this] { drop_freeze(); });
  if (!unfinished) attempt([this] { unmark_origin(); });
  if (!unfinished) attempt([this] { release_thin(); });
  return result;
}

}  // namespace extmerge
