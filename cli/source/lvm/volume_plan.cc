// SPDX-License-Identifier: GPL-3.0-or-later
//
// plan and verify: they read a volume and its group, and change nothing.

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/source/dm/holders.h"
#include "cli/source/dm/tables.h"
#include "cli/source/lvm/chain.h"
#include "cli/source/lvm/freeze_room.h"
#include "cli/source/lvm/origin_kind.h"
#include "cli/source/lvm/volume_source.h"
#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "io/text.h"

namespace extmerge {

namespace {

// LVM has no way to grow it as long as it is an external origin.
Error beyond_origin(const Error& error, const ThinVolume& volume) {
  const std::string name = volume.snap.full_name();
  if (!judge_rest(volume, volume.origin_users)) {
    return Error(
        error.id(), error.what(),
        "LVM cannot grow an external origin. Merge and remove the snapshot: extmerge merge "
        "--finish " +
            name +
            " extends the origin and brings that data there; or give that data up with "
            "--beyond-origin=drop");
  }
  return Error(error.id(), error.what(),
               "LVM cannot grow an external origin. Unmount the snapshot and copy it whole "
               "instead: lvcreate -L " +
                   std::to_string(volume.snap.size.value()) + "b -n NEW " + volume.snap.vg +
                   " && dd if=/dev/" + name + " of=/dev/" + volume.snap.vg +
                   "/NEW bs=4M oflag=direct conv=fsync; or give that data up with "
                   "--beyond-origin=drop");
}

// The legs of an active raid or mirror.
std::optional<RaidState> legs_of(const LogicalVolume& origin) {
  const auto layer = find_dm_device(origin.dm_uuid("-real"));
  return layer ? raid_state(*layer) : std::nullopt;
}

Error lost_legs(const LogicalVolume& origin, const RaidState& legs) {
  return unfit_origin(
      origin, "a " + legs.type + " that " + legs.trouble(),
      "bring the missing disks back (lvs -a -o +devices), then run the same command "
      "again");
}

}  // namespace

Job VolumeSource::plan_job() {
  reserve_mappings();
  const bool goes_on = is_unfinished() && !request_.merge.restart;
  const ThinId id = goes_on ? merged_thin()->id : static_cast<ThinId>(*volume_.snap.thin_id);
  Job job = base_job(id, [this] { return origin_facts(); });
  if (job.origin_is_inactive()) {
    job.origin_thins.clear();
    if (const auto layer = lasting_layer()) {
      job.origin_below = facts_of_device(*layer);
    }
  }
  job.origin_made_writable = !copies();
  job.perhaps_older = perhaps_older(volume_);
  job.will_be_frozen = !goes_on && is_in_use() && !uses_held_snapshot();

  check_activation();
  if (!copies()) check_layer();
  return job;
}

// A merge activates a thin over the origin for a moment, and LVM calls it a success where a setting
// forbids that.
void VolumeSource::check_activation() const {
  if (find_dm_device(volume_.origin.dm_uuid("-real"))) return;
  // A merge learns from LVM what host tags forbid. Nothing else tells them (see Lvm::host_tags()).
  if (request_.only_looks() || lvm_.names_volumes()) lvm_.check_activation(volume_.snap);
}

// Refuses if another device than the origin and the thins that LVM knows lies over the layer: it
// belongs to somebody else's stack.
void VolumeSource::check_layer() const {
  const auto layer = find_dm_device(volume_.origin.dm_uuid("-real"));
  if (!layer) return;
  const std::string group = volume_.origin.dm_uuid().substr(0, 4 + 32);  // "LVM-", the group's
  for (const Holder& holder : facts_of_device(*layer).holders) {
    if (is_gone(holder)) continue;
    const auto table = read_dm_table(holder.device_number);
    const bool over_thin = table && is_thin(*table);
    if (table && table->uuid.starts_with(volume_.origin.dm_uuid())) continue;
    if (over_thin &&
        (table->uuid.starts_with(group) || request_.merge.overrides.allow_shared_origin))
      continue;
    throw Error(over_thin ? MessageId::kSharedOrigin : MessageId::kHeld,
                "the origin " + origin_name() + " is in use by " + holder.name,
                over_thin
                    ? "LVM does not know that thin: remove it (dmsetup remove), or accept "
                      "that it may change with --allow-shared-origin"
                    : "remove that device first (lsblk; dmsetup remove, losetup -d, mdadm --stop)");
  }
}

void VolumeSource::look_at_rest(PlanReport& report) const {
  if (!report.has_rest || report.nothing_new) return;
  Refusal refusal = judge_rest(volume_, volume_.origin_users);
  const bool has_no_room =
      std::ranges::find(report.refusals, MessageId::kPoolFull, &Error::id) != report.refusals.end();
  if (!refusal && !has_no_room) {
    refusal = origin_pool_.judge(report.summary, volume_.snap.size - volume_.origin.size);
  }
  if (refusal) {
    report.refusals.push_back(*refusal);
  } else {
    report.notes.push_back(rest_note(volume_));
  }
}

void VolumeSource::look_below_origin(PlanReport& report) const {
  const auto legs = legs_of(volume_.origin);
  const std::string trouble = legs ? legs->trouble() : "";
  if (legs && !legs->is_whole) {
    report.refusals.push_back(lost_legs(volume_.origin, *legs));
  } else if (!trouble.empty()) {
    report.notes.push_back("the origin " + origin_name() + " " + trouble);
  }
  if (is_in_use() && may_hinder_freeze(volume_.origin)) {
    report.notes.push_back("the origin " + origin_name() +
                           " is a thin and active: if LVM makes no freeze then, deactivate the "
                           "origin (lvchange -an " +
                           origin_name() + ")");
  }
  if (origin_pool_.is_inactive()) {
    report.notes.push_back("the origin " + origin_name() + " is a thin of the pool " +
                           origin_pool_.name() +
                           ", which is inactive: its room is judged when the merge begins");
  }
}

void VolumeSource::check_legs() {
  const auto legs = legs_of(volume_.origin);
  if (!legs) return;
  if (!legs->is_whole) throw lost_legs(volume_.origin, *legs);
  const std::string trouble = legs->trouble();
  if (!trouble.empty() && trouble != told_of_legs_) {
    spdlog::warn("the origin {} {}", printable(origin_name()), trouble);
  }
  told_of_legs_ = trouble;
}

Job VolumeSource::verify_job() {
  open_node(OriginNode::Use::kRead);
  reserve_mappings();
  Job job = base_job(static_cast<ThinId>(*volume_.snap.thin_id), [this] { return node_->facts(); });
  if (!copies()) job.journal = {};
  return job;
}

void VolumeSource::check_still() const {
  const auto device = find_dm_device(volume_.snap.dm_uuid());
  const auto table = device ? read_dm_table(*device) : std::nullopt;
  if (!table || table->read_only || table->suspended) return;
  throw Error(MessageId::kThinNotStill,
              thin_name() + " is active and writable, so it may change while its map is in use",
              "make a snapshot and name that: lvcreate -s -kn -pr -n NAME " + thin_name() +
                  "; or deactivate " + thin_name());
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

void VolumeSource::complete_plan(PlanReport& report) const {
  if (copies()) {
    if (const auto refusal = judge_half_merged()) report.refusals.push_back(*refusal);
    return judge_freeze(report);
  }
  complete_chain(report);
  const std::set<std::string> known = recorded_freezes();
  for (const LogicalVolume& volume : volume_.group.volumes()) {
    const bool is_known = known.contains(volume.name) || known.contains(volume.uuid);
    if (!volume.has_tag(kFreezeTag) || is_known) continue;
    report.notes.push_back(volume.full_name() + " is the freeze of a merge that is not known in " +
                           place_.directory->path() +
                           ". Remove it (lvremove) only if its snapshot still exists: otherwise it "
                           "is the only copy of its data");
  }
  look_below_origin(report);
  look_at_rest(report);
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
              "resume that merge with the --state-dir or --journal that it began with; if its "
              "journal is lost, restart from the beginning with --restart, and keep its freeze "
              "(lvs -a -o +tags) until that is done"));
  }
  judge_siblings(report);
  judge_freeze(report);
}

// Whether LVM can make the freeze and the marks of a merge that begins.
void VolumeSource::judge_freeze(PlanReport& report) const {
  if (report.nothing_new || (is_unfinished() && !request_.merge.restart)) return;
  const auto to_be_marked =
      std::ranges::count_if(members_, [](const auto& one) { return !one.has_tag(kGivenUpTag); });
  const bool must_freeze = is_in_use() && !is_freeze();
  if (const auto refusal =
          judge_metadata_area(volume_, must_freeze, static_cast<size_t>(to_be_marked)))
    report.refusals.push_back(*refusal);
  if (!is_in_use() || is_unfinished()) return;
  if (uses_held_snapshot()) {
    report.refusals.push_back(
        Error(MessageId::kThinNotStill,
              thin_name() +
                  " is active, and the metadata snapshot that is held does not contain a freeze",
              "deactivate " + thin_name() + " (lvchange -an), or leave out --metadata-snap"));
    return;
  }
  if (const auto refusal = judge_snapshot_target(volume_)) report.refusals.push_back(*refusal);
  // At worst every block is written again during the merge, and moves. Long before the pool is
  // full, check_origin() gives the freeze up.
  const PoolStatus status = pool_status(pool_.device_number);
  const uint64_t free = status.free_data();
  const uint64_t worst = report.summary.mapped_blocks;
  const std::string room = "freezing " + thin_name() + " can cost up to " + std::to_string(worst) +
                           " blocks of its pool while it is written to; " + std::to_string(free) +
                           " are free";
  if (!status.is_nearly_full()) {
    report.notes.push_back(worst <= free ? room
                                         : room +
                                               "; if the pool fills up, the freeze is given up and "
                                               "the same command restarts from the beginning");
    return;
  }
  report.refusals.push_back(
      Error(MessageId::kPoolFull, room,
            "deactivate " + thin_name() +
                " (lvchange -an) and run the same command again, or extend the pool"));
}

}  // namespace extmerge
