// SPDX-License-Identifier: GPL-3.0-or-later
//
// A job is everything that one merge or copy works on: its devices and the facts about them.
// cli/source, or a test with simulated disks, fills it in and opens nothing. The merge first checks
// the facts, then opens devices through the custody.

#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/device_facts.h"
#include "io/durable_file.h"
#include "merge/custody.h"
#include "merge/journal/record.h"

namespace extmerge {

class Journal;

// A thin target among the holders of the origin.
struct ThinHolder {
  uint64_t device_number = 0;
  std::string name;  // dm name
  ThinId id{};
  bool of_this_pool = false;  // its pool's metadata device is the job's
  bool writable = false;      // neither read-only nor suspended
  // The thin reads a layer under the origin, so the origin itself is free for O_EXCL.
  bool of_layer_below = false;
  std::string uuid{};  // device-mapper's
};

// A volume that reads the origin, active or not.
struct OriginUser {
  ThinId id{};
  std::string name;
  bool of_this_pool = true;
  // The other pool, by a name that the custody knows. Empty if the thin's mappings cannot be asked
  // for.
  std::string pool{};
  std::string uuid{};  // of its device while it is active, device-mapper's
};

// A thin that a file system lies on.
struct ThinBelow {
  std::string name;  // dm name
  ThinId id{};
  uint64_t pool_metadata = 0;  // device number of its pool's metadata device
  uint64_t origin = 0;         // of its external origin, 0 if it has none
};

// The place of a journal or an undo log. `directory` is null if it does not exist yet (plan).
struct JournalPlace {
  std::shared_ptr<DurableDirectory> directory;
  std::string name;
  std::string path;                   // for messages
  std::vector<uint64_t> file_system;  // device numbers under its file system
  std::vector<ThinBelow> thins;       // the thins among these devices
  // The existing files of the journal, itself included.
  std::vector<DeviceFacts::File> files;
  DeviceFacts::File folder;         // of the file, or the nearest existing one above
  bool is_volatile = false;         // tmpfs and the like
  bool is_writable = true;          // according to owner and mode of its folder
  std::shared_ptr<FileLock> lock;   // NAME.lock, if the caller holds it already
  std::optional<uint64_t> nonce;    // of a new journal, if the caller has chosen it
  std::optional<Bytes> free_space;  // on its file system, if known
};

// False only if the undo log was certainly moved or removed. True if its folder is missing, empty
// or unsafe: the file system may not be mounted. `find` returns the undo log's place.
bool undo_log_may_exist(const std::function<JournalPlace()>& find);

struct Job {
  DeviceFacts metadata;
  DeviceFacts data;
  DeviceFacts origin;
  std::vector<ThinHolder> origin_thins;
  std::vector<std::string> origin_writers;  // programs that have the origin open for writing

  ThinId thin_id{};
  std::optional<Bytes> thin_size;
  RootChoice root_choice = RootChoice::kHeld;
  MetadataBlock root_block;  // kBlock

  // The other readers of the origin, if they are known (LVM). Then these are all siblings, and a
  // harmed one is a refusal.
  std::optional<std::vector<OriginUser>> origin_users;
  // True for a named source: the kernel's tables name the pool's devices. Then the data device is
  // not checked for containers, because its first block may hold any data.
  bool data_is_certain = false;
  // The thin is a freeze of this volume, which is not a sibling.
  std::optional<ThinId> frozen_from;
  // plan: thins that may be older ones of the same chain, which LVM no longer shows.
  std::vector<ThinId> perhaps_older;
  // plan: the thin is in use, and a merge will freeze it first.
  bool will_be_frozen = false;
  // plan: the origin is read-only now, and the merge will make it writable (LVM).
  bool origin_made_writable = false;
  // plan: a device that shows an inactive origin (LVM: the layer below it).
  std::optional<DeviceFacts> origin_below;
  // Data past the origin's end is kept elsewhere, and is no reason to refuse.
  bool keeps_rest = false;
  // The id of the thin's earlier freeze, which was merged and is gone.
  std::optional<ThinId> merged_as;

  JournalPlace journal;
  // Where to save overwritten bytes (--undo-log).
  std::optional<JournalPlace> undo_log;

  // Absolute paths for the journal; the device facts have the user's paths.
  std::string metadata_path, data_path, origin_path;

  // A copy: then `origin` above is the target, and the external origin is only read.
  struct Copy {
    DeviceFacts origin;       // what it is read from: the origin, or the layer below it (LVM)
    std::string origin_path;  // absolute
    bool whole = false;
    std::string identity{};  // of the origin, where `origin` is another device
    // The target is a thin over this origin: it reads the origin, and never writes to it.
    bool is_below_target = false;
    // The target is an export: programs on this machine that have a device of the source open for
    // writing. One of them may serve it.
    std::vector<std::string> writers{};
    // An inactive volume of LVM has no device to read.
    bool is_readable() const { return !origin.is_block || origin.device_number != 0; }
  };
  std::optional<Copy> copy;
  // A number that changes when the external origin is merged into by extmerge, or, for an image, is
  // written to. Null: not known.
  std::function<uint64_t()> origin_state;
  // A copy: the journal of another copy, whose state the target has already. Outlives the job.
  Journal* since = nullptr;
  // For messages.
  std::string deed() const { return copy ? "copy" : "merge"; }
  std::string role() const { return copy ? "target" : "origin"; }

  // Never null during the work; outlives the job.
  Custody* custody = nullptr;
  // Whether the merged state is kept unchanged after an interruption.
  bool can_be_resumed = true;

  // An inactive LVM volume has a name and a size, but no device yet.
  bool origin_is_inactive() const { return origin.is_block && origin.device_number == 0; }
  // The device to read the origin from: the layer below while the origin is inactive. Null if there
  // is none.
  const DeviceFacts* readable_origin() const {
    if (!origin_is_inactive()) return &origin;
    return origin_below ? &*origin_below : nullptr;
  }
  // Whether a thin of this pool is the merged one, or the volume that it is a freeze of.
  bool is_merged(ThinId id) const { return id == thin_id || id == frozen_from; }
  bool is_sibling(const OriginUser& user) const {
    return !user.of_this_pool || !is_merged(user.id);
  }
  // Whether a thin of this pool is active over the origin.
  bool is_active(ThinId id) const {
    return std::ranges::any_of(
        origin_thins, [&](const ThinHolder& thin) { return thin.of_this_pool && thin.id == id; });
  }
};

}  // namespace extmerge
