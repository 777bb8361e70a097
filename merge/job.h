// SPDX-License-Identifier: GPL-3.0-or-later
//
// What one merge works on: three devices and what is known about them. Whoever
// fills it in (cli/source, or a test with simulated disks) has opened nothing yet; the
// merge inspects the facts first and opens through the custody.

#pragma once

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

// A thin target among the holders of the origin.
struct ThinHolder {
  uint64_t device_number = 0;
  std::string name;  // dm name
  ThinId id{};
  bool of_this_pool = false;  // its pool's metadata device is the one given
  bool read_only = false;
  // It reads a layer under the origin, which leaves the origin itself free for O_EXCL.
  bool of_layer_below = false;
};

// A volume that is known to read the origin, active or not.
struct OriginUser {
  ThinId id{};
  std::string name;
  bool of_this_pool = true;
};

// A thin that a file system lies on.
struct ThinBelow {
  std::string name;  // dm name
  ThinId id{};
  uint64_t pool_metadata = 0;  // device number of its pool's metadata device
  uint64_t origin = 0;         // of its external origin, 0 if it has none
};

// Where the journal goes, or the undo log. `directory` is null where there is none yet (plan).
struct JournalPlace {
  std::shared_ptr<DurableDirectory> directory;
  std::string name;
  std::string path;                   // for messages
  std::vector<uint64_t> file_system;  // device numbers under its file system
  std::vector<ThinBelow> thins;       // those of them that are thins
  // The journal and the files that belong to it, as far as they exist.
  std::vector<DeviceFacts::File> files;
  DeviceFacts::File folder;         // of the file, or the nearest one above that exists
  bool is_volatile = false;         // tmpfs and the like
  bool is_writable = true;          // as far as owner and mode of its folder tell
  std::shared_ptr<FileLock> lock;   // NAME.lock, where the caller holds it already
  std::optional<uint64_t> nonce;    // of the journal to be begun, where the caller has chosen it
  std::optional<Bytes> free_space;  // on its file system, where that is known
};

// False only if it was moved away or removed: not where its folder is missing or empty, whose file
// system may not be mounted, or cannot be trusted.
// `find` returns its place.
bool undo_log_may_exist(const std::function<JournalPlace()>& find);

struct Job {
  DeviceFacts metadata;
  DeviceFacts data;
  DeviceFacts origin;
  std::vector<ThinHolder> origin_thins;
  std::vector<std::string> origin_writers;  // programs that have it open for writing

  ThinId thin_id{};
  std::optional<Bytes> thin_size;
  RootChoice root_choice = RootChoice::kHeld;
  MetadataBlock root_block;  // kBlock

  // Who reads the origin beside the thin, where that is known (LVM). Then these and no
  // others are its siblings, and one that is harmed is a reason to refuse.
  std::optional<std::vector<OriginUser>> origin_users;
  // The kernel's tables name the pool's devices: a named source. Data blocks hold anything, so the
  // first one may look like a container of a disk.
  bool data_is_certain = false;
  // The thin is a frozen copy of this one, which is in use: not a sibling.
  std::optional<ThinId> frozen_from;
  // plan: the thin is in use and will be frozen before it is merged.
  bool will_be_frozen = false;
  // plan: it is read-only now and will be made writable for the merge (LVM).
  bool origin_made_writable = false;
  // plan: where an inactive origin can be read all the same (LVM: the layer below it).
  std::optional<DeviceFacts> origin_below;
  // Under this id the thin was merged before: a frozen copy that is gone.
  std::optional<ThinId> merged_as;

  JournalPlace journal;
  // Where to save what is overwritten (--undo-log).
  std::optional<JournalPlace> undo_log;

  // Absolute paths for the journal; device facts have what the user typed.
  std::string metadata_path, data_path, origin_path;

  // Never null where the job is worked on; outlives it.
  Custody* custody = nullptr;
  // Whether what is merged is kept as it is for a merge that is interrupted.
  bool can_be_resumed = true;

  // Of an LVM volume that is not active there is a name and a size, and no device yet.
  bool origin_is_inactive() const { return origin.is_block && origin.device_number == 0; }
};

}  // namespace extmerge
