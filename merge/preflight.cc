// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/preflight.h"

#include <algorithm>

#include "io/text.h"
#include "merge/target.h"

namespace extmerge {

namespace {

// A journal or undo log must not lie on the merged devices. Another thin of the pool has blocks of
// its own: that is only a note (merge/notes.cc).
Refusal check_place(const Job& job, const JournalPlace& place, const std::string& what,
                    const std::string& next) {
  const DeviceFacts& origin = job.origin;
  for (const DeviceFacts* facts :
       {&job.metadata, &job.data, &origin, job.copy ? &job.copy->origin : &origin}) {
    for (const DeviceFacts::File& file : place.files) {
      if (std::ranges::count(facts->underlying_files, file) == 0) continue;
      return Error(MessageId::kJournalOnOrigin,
                   what + place.path + ", or a file beside it that belongs to it, is " +
                       facts->path + " itself",
                   next);
    }
  }
  const std::vector<ThinBelow> thins = thins_of_pool(job, place);
  for (const ThinBelow& thin : thins) {
    if (!job.is_merged(thin.id)) continue;
    return Error(MessageId::kJournalOnOrigin,
                 what + place.path + " would lie on " + thin.name + ", which is " +
                     (job.copy ? "copied" : "merged"),
                 next);
  }
  const bool reads_origin = std::ranges::any_of(
      thins, [&](const ThinBelow& thin) { return contains(origin.underlying, thin.origin); });
  if (origin.is_block && contains(place.file_system, origin.device_number) && !reads_origin) {
    return Error(MessageId::kJournalOnOrigin,
                 what + place.path + " would lie on the " + job.role() + " " + origin.path, next);
  }
  for (const DeviceFacts* pool : {&job.metadata, &job.data}) {
    if (pool->is_block && contains(place.file_system, pool->device_number) && thins.empty()) {
      return Error(MessageId::kJournalOnOrigin,
                   what + place.path + " would lie on the pool's own " + pool->path, next);
    }
  }
  return {};
}

Refusal check_device(const DeviceFacts& facts, const std::string& role) {
  if (!facts.exists) {
    return Error(MessageId::kNotFound, "there is no " + facts.path + " (the " + role + ")",
                 "check the name; activate a volume of LVM first (lvchange -ay); vgmknodes makes a "
                 "missing node");
  }
  const bool is_known = facts.is_block || facts.is_regular || facts.is_export;
  if (is_known && facts.size > Bytes(0)) return {};
  if (is_known) {
    return Error(MessageId::kNotADevice, facts.path + " (the " + role + ") is empty",
                 facts.is_export ? "name the export that has the size of the thin"
                                 : "name the right device; attach a loop device first (losetup)");
  }
  return Error(MessageId::kNotADevice,
               facts.path + " (the " + role + ") is neither a block device nor an image file",
               "name a block device or a regular file");
}

Refusal check_distinct(const DeviceFacts& metadata, const DeviceFacts& data) {
  if (!metadata.exists || !data.exists || !overlaps(metadata, data)) return {};
  return Error(MessageId::kSameDevice,
               "the metadata device " + metadata.path + " and the data device " + data.path +
                   " are the same, or one lies on the other",
               "give --metadata and --data as the pool's table has them (dmsetup table)");
}

Refusal check_not_stacked(const Job& job, const DeviceFacts& pool_device, const std::string& role) {
  const DeviceFacts& origin = job.origin;
  if (!origin.exists || !pool_device.exists || !overlaps(origin, pool_device)) return {};
  return Error(MessageId::kStacked,
               "the " + job.role() + " " + origin.path + " is the pool's " + role + " device " +
                   pool_device.path + ", or one lies on the other",
               job.copy
                   ? "copying there would destroy what is copied; name a device outside the pool"
                   : "merging there would destroy the pool; name the external origin (the "
                     "third argument of the thin's table)");
}

Refusal check_size(const DeviceFacts& device, const std::string& role) {
  if (!device.exists || (!device.is_block && !device.is_regular)) return {};
  if (device.size.value() % kSectorSize == 0) return {};
  return Error(MessageId::kOddSize,
               "the " + role + " " + device.path + " has " + bytes_text(device.size) +
                   ", which is not a whole number of 512-byte sectors",
               role == "origin" ? "it cannot be the origin a pool used; check the name, or whether "
                                  "the image was cut or padded"
                                : "make it longer (truncate -s), or name another one");
}

Refusal check_thin_size(const Job& job) {
  if (!job.thin_size) return {};
  const uint64_t size = job.thin_size->value();
  if (size != 0 && size % kSectorSize == 0) return {};
  return Error(MessageId::kUsage,
               "--thin-size is " + bytes_text(*job.thin_size) +
                   ", which is not a positive number of 512-byte sectors",
               "give the length of the thin's table (blockdev --getsize64, dmsetup table)");
}

Refusal check_extendable(const Job& job, BeyondOriginChoice beyond) {
  if (beyond != BeyondOriginChoice::kExtend) return {};
  if (!job.thin_size) {
    return Error(MessageId::kExtendNeedsThinSize,
                 "--beyond-origin=extend needs the thin's size, which the metadata does not hold",
                 "add --thin-size SIZE (blockdev --getsize64 of the thin, dmsetup table)");
  }
  if (job.origin.is_block && *job.thin_size > job.origin.size) {
    return Error(MessageId::kCannotExtend,
                 "the origin " + job.origin.path + " is a device of " +
                     bytes_text(job.origin.size) + ", the thin has " + bytes_text(*job.thin_size) +
                     ": extmerge cannot grow a device",
                 "grow it first (lvextend, or the like), or use --beyond-origin=drop");
  }
  return {};
}

Refusal check_pool_inactive(const Job& job) {
  if (job.root_choice != RootChoice::kLive || job.metadata.holders.empty()) return {};
  return Error(MessageId::kPoolActive,
               "--live-root: the metadata device " + job.metadata.path + " is in use by " +
                   job.metadata.holders.front().name,
               "deactivate the pool, or reserve a metadata snapshot (dmsetup message POOL 0 "
               "reserve_metadata_snap) and leave out --live-root");
}

Refusal check_undo_log_place(const Job& job) {
  const JournalPlace& log = *job.undo_log;
  const std::string next = "name another file with --undo-log";
  if (!log.directory) {
    return Error(MessageId::kNotFound, "there is no folder for the undo log " + log.path,
                 "make the folder, or " + next);
  }
  const JournalPlace& journal = job.journal;
  const bool is_journal =
      log.path == journal.path ||
      (log.name == journal.name && log.folder.inode != 0 && log.folder == journal.folder);
  for (const char* const ending : {".journal", ".new", ".lock", ".lvm"}) {
    if (!is_journal && !log.name.ends_with(ending)) continue;
    return Error(MessageId::kUndoLogInTheWay,
                 log.path + " is named like a journal, or a file that belongs to one", next);
  }
  return check_place(job, log, "the undo log ", next);
}

// `next` is the end of the cure.
Refusal check_can_be_made(const JournalPlace& place, const std::string& what,
                          const std::string& next) {
  if (place.is_writable) return {};
  return Error(MessageId::kPermission,
               what + place.path + " cannot be made: no permission for its folder",
               "run as root, or name another " + next);
}

Refusal check_needs_check(const PlanFacts& facts, const DeviceFacts& metadata) {
  if (!facts.needs_check) return {};
  return Error(MessageId::kNeedsCheck,
               "the pool on " + metadata.path + " is marked needs_check: its metadata may be wrong",
               "repair it first (deactivate the pool, then lvconvert --repair VG/POOL, or "
               "thin_check --clear-needs-check-flag)");
}

Refusal check_stale(const PlanFacts& facts, const Job& job, const Overrides& overrides) {
  if (!facts.device_changed || overrides.allow_stale) return {};
  return Error(MessageId::kStale,
               thin_id_text(job.thin_id) +
                   " has changed since the metadata snapshot was reserved: data blocks of that "
                   "snapshot may be overwritten",
               "stop writing to the thin, reserve a new metadata snapshot, and run the same "
               "command again; or accept the risk with --allow-stale");
}

Refusal check_beyond_origin(const PlanFacts& facts, const Job& job, BeyondOriginChoice beyond) {
  if (beyond != BeyondOriginChoice::kRefuse || !facts.beyond_origin_has_data) return {};
  if (job.keeps_rest) return {};
  return Error(MessageId::kBeyondOrigin,
               bytes_text(facts.summary.beyond_origin_bytes) +
                   " of the thin lie past the end of the origin " + job.origin.path + " (" +
                   bytes_text(job.origin.size) + ") and are not all zero",
               "grow the origin first (an image: --beyond-origin=extend with --thin-size), or give "
               "that data up with --beyond-origin=drop");
}

Refusal check_tail(const PlanFacts& facts, const Job& job) {
  const DeviceFacts& origin = job.origin;
  const uint64_t sector = origin.logical_block_size.value();
  if (!(origin.is_block || origin.is_export) || facts.summary.end_of_copy.value() % sector == 0)
    return {};
  return Error(MessageId::kTailAlignment,
               "the last block to " + job.deed() + " ends at byte " +
                   std::to_string(facts.summary.end_of_copy.value()) + " of the " + job.role() +
                   " " + origin.path + ", inside one of its " + std::to_string(sector) +
                   "-byte logical blocks",
               "direct I/O can neither read nor write such a tail; use a device with 512-byte "
               "sectors over the same storage");
}

void keep(std::vector<Error>& refusals, Refusal refusal) {
  if (refusal) refusals.push_back(std::move(*refusal));
}

}  // namespace

std::vector<ThinBelow> thins_of_pool(const Job& job, const JournalPlace& place) {
  std::vector<ThinBelow> thins;
  for (const ThinBelow& thin : place.thins) {
    if (thin.pool_metadata != 0 && (thin.pool_metadata == job.metadata.device_number ||
                                    contains(job.metadata.underlying, thin.pool_metadata)))
      thins.push_back(thin);
  }
  return thins;
}

Refusal check_writable(const DeviceFacts& device, const std::string& role) {
  if (!device.exists || !device.read_only) return {};
  return Error(MessageId::kReadOnly, "the " + role + " " + device.path + " is read-only",
               "make it writable (blockdev --setrw for a disk, lvchange -prw for a volume that is "
               "no longer an external origin, remount for a file)");
}

Refusal check_not_mounted(const DeviceFacts& device, const std::string& role) {
  if (device.mount_points.empty()) return {};
  return Error(
      MessageId::kMounted,
      "the " + role + " " + device.path + " is mounted on " + joined(device.mount_points, ", "),
      "unmount it; nothing overrides this");
}

Refusal check_not_swap(const DeviceFacts& device, const std::string& role) {
  if (!device.is_swap) return {};
  return Error(MessageId::kInUse, "the " + role + " " + device.path + " is used as swap",
               "swapoff " + device.path);
}

std::vector<Error> refuse_devices(const Job& job, BeyondOriginChoice beyond, Purpose purpose) {
  std::vector<Error> refusals;
  const std::string role = job.role();
  keep(refusals, check_device(job.metadata, "metadata device"));
  keep(refusals, check_device(job.data, "data device"));
  keep(refusals, check_device(job.origin, role));
  keep(refusals, check_distinct(job.metadata, job.data));
  keep(refusals, check_not_stacked(job, job.metadata, "metadata"));
  keep(refusals, check_not_stacked(job, job.data, "data"));
  if (job.copy) {
    keep(refusals, check_device(job.copy->origin, "origin"));
    keep(refusals, check_size(job.copy->origin, "origin"));
    keep(refusals, check_target_is_not_origin(job));
    keep(refusals, check_export_is_not_source(job));
    keep(refusals, check_target_size(job));
  }
  keep(refusals, check_size(job.origin, role));
  keep(refusals, check_thin_size(job));
  keep(refusals, check_pool_inactive(job));
  if (purpose == Purpose::kVerify) return refusals;
  keep(refusals, check_extendable(job, beyond));
  keep(refusals, check_writable(job.origin, role));
  keep(refusals, check_not_mounted(job.origin, role));
  keep(refusals, check_not_swap(job.origin, role));
  keep(refusals, check_place(job, job.journal, "the journal ",
                             "put it elsewhere with --journal or --state-dir"));
  keep(refusals, check_can_be_made(job.journal, "the journal ", "folder with --state-dir"));
  if (job.undo_log) {
    keep(refusals, check_undo_log_place(job));
    keep(refusals, check_can_be_made(*job.undo_log, "the undo log ", "file with --undo-log"));
  }
  return refusals;
}

std::vector<Error> refuse_origin(const Job& job) {
  std::vector<Error> refusals;
  const std::string role = job.role();
  keep(refusals, check_device(job.origin, role));
  keep(refusals, check_not_stacked(job, job.metadata, "metadata"));
  keep(refusals, check_not_stacked(job, job.data, "data"));
  keep(refusals, check_writable(job.origin, role));
  keep(refusals, check_not_mounted(job.origin, role));
  keep(refusals, check_not_swap(job.origin, role));
  return refusals;
}

namespace {

std::string unknown_text(const Sibling& sibling) {
  return std::string("its mappings are not known") +
         (sibling.reason ? ": " + std::string(sibling.reason->what()) : "");
}

// Whether it is a thin of another pool that is among the siblings.
bool is_known_elsewhere(const ThinHolder& thin, const Job& job, const PlanFacts& facts) {
  const auto users = job.origin_users.value_or(std::vector<OriginUser>{});
  const auto user = std::ranges::find_if(users, [&](const OriginUser& one) {
    return !one.pool.empty() && !one.uuid.empty() && one.uuid == thin.uuid;
  });
  return user != users.end() && std::ranges::any_of(facts.siblings, [&](const Sibling& sibling) {
           return sibling.pool == user->pool && sibling.name == user->name;
         });
}

}  // namespace

Refusal check_siblings(const PlanFacts& facts, const Overrides& overrides) {
  if (overrides.allow_shared_origin) return {};
  std::string harmed, cures;
  size_t count = 0;
  for (const Sibling& sibling : facts.siblings) {
    if (!sibling.certain || sibling.harmed_blocks == 0) continue;
    if (overrides.keep_siblings && !sibling.unreadable) continue;
    if (++count > kMostNamed) continue;
    harmed +=
        (harmed.empty() ? "" : ", ") + sibling.name + " (" +
        (sibling.unreadable ? unknown_text(sibling) : plural(sibling.harmed_blocks, "block")) + ")";
    if (sibling.reason) cures += sibling.reason->next() + "; or ";
  }
  if (harmed.empty()) return {};
  if (count > kMostNamed) harmed += " and " + std::to_string(count - kMostNamed) + " more";
  return Error(MessageId::kSharedOrigin,
               std::string(count == 1 ? "another volume reads" : "other volumes read") +
                   " this origin and would change: " + harmed,
               cures +
                   "merge or remove every such volume, give it its own copies first with "
                   "--keep-siblings, or "
                   "accept the change with --allow-shared-origin");
}

Refusal check_holders(const PlanFacts& facts, const Job& job, const Overrides& overrides) {
  for (const Holder& holder : job.origin.holders) {
    const std::string in_use =
        "the " + job.role() + " " + job.origin.path + " is in use by " + holder.name;
    const auto thin =
        std::ranges::find(job.origin_thins, holder.device_number, &ThinHolder::device_number);
    if (thin == job.origin_thins.end()) {
      return Error(MessageId::kHeld, in_use,
                   "remove that device first (lsblk; dmsetup remove, losetup -d, mdadm --stop)");
    }
    if (thin->of_this_pool && job.is_merged(thin->id)) continue;
    if (overrides.allow_shared_origin) continue;
    const std::string next =
        "remove or merge that thin first, or accept that it changes with --allow-shared-origin";
    if (is_known_elsewhere(*thin, job, facts)) continue;  // check_siblings() judges it
    if (!thin->of_this_pool) {
      return Error(MessageId::kSharedOrigin,
                   in_use + ", a thin of another pool whose mappings are not known here", next);
    }
    const auto sibling = std::ranges::find_if(
        facts.siblings, [&](const Sibling& one) { return one.id == thin->id && one.pool.empty(); });
    const std::string which = in_use + ", " + thin_id_text(thin->id);
    if (sibling == facts.siblings.end()) {
      return Error(
          MessageId::kSharedOrigin,
          which + ", which is younger than the metadata snapshot: its mappings are not known",
          next);
    }
    if (sibling->harmed_blocks > 0 && !sibling->certain) {
      return Error(MessageId::kSharedOrigin,
                   which + ", which would change in " + plural(sibling->harmed_blocks, "block"),
                   next);
    }
  }
  return {};
}

std::vector<Error> refuse_plan(const PlanFacts& facts, const Job& job, BeyondOriginChoice beyond,
                               const Overrides& overrides, Purpose purpose) {
  std::vector<Error> refusals;
  keep(refusals, check_needs_check(facts, job.metadata));
  keep(refusals, check_stale(facts, job, overrides));
  keep(refusals, check_beyond_origin(facts, job, beyond));
  keep(refusals, check_tail(facts, job));
  if (purpose == Purpose::kVerify) return refusals;
  keep(refusals, check_siblings(facts, overrides));
  keep(refusals, check_holders(facts, job, overrides));
  return refusals;
}

void refuse_any(const std::vector<Error>& refusals) {
  if (refusals.empty()) return;
  std::string next = refusals.front().next();
  for (size_t i = 1; i < refusals.size(); ++i) {
    next += "\n  also " + to_string(refusals[i].id()) + ": " + refusals[i].what();
  }
  throw Error(refusals.front().id(), refusals.front().what(), next);
}

OpenMode claim_mode(const Job& job) {
  const auto below = std::ranges::count(job.origin_thins, true, &ThinHolder::of_layer_below);
  const bool is_held = job.origin.holders.size() > static_cast<size_t>(below);
  return job.origin.is_block && is_held ? OpenMode::kShare : OpenMode::kClaim;
}

}  // namespace extmerge
