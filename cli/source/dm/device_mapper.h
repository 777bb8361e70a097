// SPDX-License-Identifier: GPL-3.0-or-later
//
// Device-mapper through libdevmapper: tables, a thin pool's status and messages. Nodes are made,
// reloaded and removed in step with udev. Devices are found by uuid and addressed by number,
// because names may change at any time.

#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/source/dm/udev_step.h"
#include "io/device_facts.h"
#include "io/units.h"

namespace extmerge {

struct DmTarget {
  std::string type;
  std::vector<std::string> arguments;
  uint64_t start = 0, length = 0;  // in sectors

  friend bool operator==(const DmTarget&, const DmTarget&) = default;
};

struct DmTable {
  std::string name;
  bool read_only = false;
  std::vector<DmTarget> targets{};
  std::string uuid{};
  bool suspended = false;
  bool has_inactive = false;  // another table is loaded and waits for a resume
  int open_count = 0;
};

// Nothing if there is no such dm device, as in a kernel without device-mapper. These three
// functions throw kCannotLook if device-mapper does not answer (no control node, no permission).
std::optional<DmTable> read_dm_table(uint64_t device_number);
// The number of the dm device with that uuid.
std::optional<uint64_t> find_dm_device(const std::string& uuid);
// The numbers of all dm devices.
std::vector<uint64_t> all_dm_devices();
// Whether the kernel has loaded that kind of target ("snapshot" is of the module dm-snapshot).
bool has_dm_target(const std::string& type);
// "/dev/mapper/NAME", for messages. The device is opened by its number (inspect_device).
std::string dm_path(const DmTable& table);
// The same for the device with that number; "/dev/NAME" if it is not a dm device.
std::string path_of_device(uint64_t device_number);
// The facts of any device as they are now, with that path.
DeviceFacts facts_of_device(uint64_t device_number);
// Turns "253:1027", as in tables, into a device number.
std::optional<uint64_t> parse_device_number(const std::string& text);

// --- changes: each throws kLvmRefused, kPermission --------------------------

// Loads the active table again, read-only or read-write, and resumes the device with it.
void reload_dm_table(uint64_t device_number, bool read_only, const UdevStep& udev, UdevRules rules);
// Drops a table that is loaded but not resumed.
void clear_inactive_table(uint64_t device_number);
// Loads a read-only table whose reads and writes all fail. The device's names stay.
void load_error_table(uint64_t device_number, const UdevStep& udev);
// Makes a hidden node over the whole device `below` and returns its number.
uint64_t make_node_over(uint64_t below, const std::string& name, const std::string& uuid,
                        bool read_only, const UdevStep& udev);
// Makes a hidden node of `size` for a thin of the pool, and returns its number. Without its
// external origin, unmapped blocks read as zeros, and a write of a part of one fills the rest with
// zeros.
uint64_t make_thin_node(uint64_t pool, ThinId id, std::optional<uint64_t> origin, Bytes size,
                        const std::string& name, const std::string& uuid, const UdevStep& udev);
// False if the device is open.
bool remove_dm_device(uint64_t device_number, const UdevStep& udev);
// The kernel removes the device at its last close, even if this process is killed.
void remove_when_closed(uint64_t device_number, const UdevStep& udev);

// --- waiting ----------------------------------------------------------------

// udev opens a device for a moment after each close or resume. Waits up to two seconds until the
// device is open at most `own` times. False if it stays open more often.
bool closes_soon(uint64_t device_number, int own = 0);
// Waits up to two seconds until no device has that uuid. False if one still has.
bool goes_soon(const std::string& uuid);

// A thin pool's status line (Documentation/admin-guide/device-mapper/thin-provisioning):
//   TRANSACTION USED/TOTAL USED/TOTAL HELD_ROOT|- MODE ... needs_check|- ...
struct PoolStatus {
  uint64_t transaction_id = 0;
  uint64_t used_metadata = 0, total_metadata = 0;  // metadata blocks, 4 KiB each
  uint64_t used_data = 0, total_data = 0;          // data blocks
  std::optional<MetadataBlock> held_root;
  std::string mode;  // rw, ro, out_of_data_space; or Fail, Error instead of all the rest
  bool needs_check = false;

  // Whether a write that needs a new block succeeds at once.
  bool takes_writes() const { return mode == "rw" && !needs_check; }
  // Whether a thin can be made or removed, and a metadata snapshot reserved or released.
  bool takes_changes() const { return mode == "rw" || mode == "out_of_data_space"; }
  uint64_t free_data() const { return total_data - std::min(used_data, total_data); }
  // Less than a fiftieth is free: too little to begin a merge with, and a freeze is given up.
  // The same once `taken` blocks more are used.
  bool is_nearly_full(uint64_t taken = 0) const {
    return (free_data() - std::min(taken, free_data())) * 50 < total_data;
  }
};
std::optional<PoolStatus> parse_pool_status(const std::string& text);

// The targets of a device with the words of its status line. Makes no pool commit. Empty if there
// is no such dm device.
std::vector<DmTarget> read_dm_status(uint64_t device_number);

// Asks without making the pool commit. Throws kUnfitPool if the answer cannot be parsed.
PoolStatus pool_status(uint64_t device_number);
// Returns 0 or the errno.
int send_pool_message(uint64_t device_number, const std::string& message);

}  // namespace extmerge
