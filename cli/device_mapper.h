// SPDX-License-Identifier: GPL-3.0-or-later
//
// Device-mapper through libdevmapper: tables, a thin pool's status and messages,
// and putting a table read-write or back. Devices are addressed by number or, to
// find them, by uuid; names may change while one works.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/units.h"

namespace extmerge {

struct DmTarget {
  std::string type;
  std::vector<std::string> arguments;
  uint64_t start = 0, length = 0;  // in sectors
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

// Nothing if there is no such dm device, or no device-mapper, or no permission.
std::optional<DmTable> read_dm_table(uint64_t device_number);
// The number of the dm device with that uuid.
std::optional<uint64_t> find_dm_device(const std::string& uuid);
// Every dm device there is, by number.
std::vector<uint64_t> all_dm_devices();
// "/dev/mapper/NAME" of a table.
std::string dm_path(const DmTable& table);
// "253:1027", as in tables, as a device number.
std::optional<uint64_t> parse_device_number(const std::string& text);

// Loads the table that is active once more, read-only or read-write, and resumes
// the device with it. Nothing else changes. Throws kLvmRefused, kPermission.
void reload_dm_table(uint64_t device_number, bool read_only);
// Drops a table that was loaded and not resumed.
void clear_inactive_table(uint64_t device_number);

// A thin pool's status line (Documentation/admin-guide/device-mapper/thin-provisioning):
//   TRANSACTION USED/TOTAL USED/TOTAL HELD_ROOT|- MODE ... needs_check|- ...
struct PoolStatus {
  uint64_t transaction_id = 0;
  uint64_t used_metadata = 0, total_metadata = 0;  // metadata blocks, 4 KiB each
  uint64_t used_data = 0, total_data = 0;          // data blocks
  std::optional<MetadataBlock> held_root;
  std::string mode;  // rw, ro, out_of_data_space; or Fail, Error instead of all the rest
  bool needs_check = false;
};
std::optional<PoolStatus> parse_pool_status(const std::string& text);

// Asked without making the pool commit. Throws kUnfitPool if it says nothing that
// is understood.
PoolStatus pool_status(uint64_t device_number);
// Returns 0 or the errno.
int send_pool_message(uint64_t device_number, const std::string& message);

}  // namespace extmerge
