// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/dm_source.h"

#include "cli/source/dm/tables.h"
#include "cli/source/places.h"
#include "io/identity.h"
#include "merge/journal/journal.h"

namespace extmerge {

DmSource::DmSource(const Request& request, uint64_t device_number)
    : NamedSource(request), device_number_(device_number) {
  const auto table = read_dm_table(device_number);
  const auto arguments = table ? thin_table(*table) : std::nullopt;
  if (!arguments) {
    throw Error(MessageId::kNotAThin, path_of_device(device_number) + " is no thin device",
                "name a thin's device, a volume as VG/SNAP, or all devices with --metadata, "
                "--data, --thin-id and --origin");
  }
  thin_ = *table;
  if (!arguments->origin) {
    throw Error(MessageId::kNotAThin, thin_name() + " has no external origin in its table",
                "there is nothing to merge it into (dmsetup table " + thin_.name + ")");
  }
  id_ = arguments->id;
  origin_number_ = *arguments->origin;
  origin_ = path_of_device(origin_number_);
  pool_ = find_pool(arguments->pool);

  identity_ = destination_look()().identity;
  place_ = place_of(request, identity_, StateDirectory::kCreate);
  lock_place_patiently(place_, request);
  const auto recorded = read_changes(*place_.directory, place_.name);
  traces_.begin(recorded);
  changes_ = recorded.value_or(SystemChanges{});
  if (changes_.is_of_lvm()) {
    if (changes_.has_lasting() || changes_.is_borrowing() || changes_.removing) {
      throw Error(MessageId::kHalfMerged,
                  "the merge of " + changes_.thin_name() + " into the same origin is unfinished",
                  "finish that merge first: extmerge resume " + changes_.thin_name() +
                      ", or give it up: extmerge abort " + changes_.thin_name());
    }
    changes_ = {};
  }
  if (request.command == Command::kAbort) {
    has_reclaimed_ = give_up_metadata_snapshot(recorded_);
    return;
  }
  try {
    has_reclaimed_ = reclaim_metadata_snapshot(recorded_);
  } catch (const Error& error) {
    if (error.id() != MessageId::kUnfitPool) throw;
    throw Error(error.id(), error.what(),
                error.next() + ", or give the merge up: extmerge abort " + place_.path);
  }
}

// The origin, or the target of a copy.
Look DmSource::destination_look() {
  if (request_.copies()) return target_look(request_.target);
  return [number = origin_number_] { return facts_of_device(number); };
}

bool DmSource::is_ours(const Journal& journal) const {
  const MergeRecord& begun = journal.record();
  return begun.thin_id == id_ &&
         is_same_identity(begun.metadata.identity, facts_of_device(pool_.metadata).identity) &&
         is_same_identity(begun.data.identity, facts_of_device(pool_.data).identity) &&
         is_same_identity(begun.origin.identity, identity_);
}

void DmSource::check_still() const {
  const auto table = read_dm_table(device_number_);
  if (!table || !(table->suspended || table->read_only)) {
    throw Error(MessageId::kThinNotStill,
                thin_name() + " is writable: a merge would mix states of different times",
                "suspend it (dmsetup suspend " + thin_.name +
                    "), reload it with --readonly, or merge a snapshot of it");
  }
  for (const uint64_t other : all_dm_devices()) {
    if (other == device_number_) continue;
    const auto other_table = read_dm_table(other);
    const auto arguments = other_table ? thin_table(*other_table) : std::nullopt;
    if (!arguments || arguments->pool != pool_.device_number || arguments->id != id_) continue;
    if (other_table->suspended) continue;
    throw Error(MessageId::kThinNotStill,
                thin_name() + " is suspended or read-only, but " + dm_path(*other_table) +
                    " is the same thin and is not suspended",
                "suspend that device (dmsetup suspend " + other_table->name + "), or remove it");
  }
}

Job DmSource::job() {
  changes_.thin = thin_.name;
  reserve_mappings();

  std::optional<Job::Copy> copy;
  const DeviceFacts origin = facts_of_device(origin_number_);
  if (request_.copies()) copy = {origin, origin_, request_.whole};
  Job job = pool_job(id_, Bytes(thin_.targets[0].length * kSectorSize), destination_look(), copy);
  job.origin_path = copy ? target_path(request_.target) : origin_;
  job.origin_state = [this, identity = origin.identity] {
    return origin_state(request_, identity, 0);
  };
  job.can_be_resumed = false;
  return job;
}

void DmSource::complete_plan(PlanReport& report) const {
  try {
    check_still();
  } catch (const Error& error) {
    report.refusals.push_back(error);
  }
}

bool DmSource::must_restart() const {
  const auto journal = read_journal(place_);
  return journal && journal->state() == JournalState::kCopying && is_ours(*journal);
}

Job DmSource::resume_job() {
  if (must_restart()) {
    throw Error(MessageId::kStale,
                thin_name() + " may have changed since its merge was interrupted",
                "restart from the beginning: run the command that began it again");
  }
  throw Error(
      MessageId::kNothingToResume, "no merge of " + thin_name() + " is unfinished",
      "begin one: extmerge merge " + thin_name() + "; copies are resumed by their journals");
}

Job DmSource::merge_job() {
  check_still();
  must_be_still_ = true;
  return job();
}

void DmSource::look_again(Job& job) {
  if (must_be_still_) check_still();
  Source::look_again(job);
}

}  // namespace extmerge
