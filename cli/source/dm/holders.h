// SPDX-License-Identifier: GPL-3.0-or-later
//
// Finds the thins among the devices over the origin, and their pools. sysfs names the holders; only
// a holder's device-mapper table tells its kind:
//
//   thin:       POOL DEV_ID [ORIGIN]
//   thin-pool:  METADATA DATA BLOCK_SIZE ...
//
// all devices as major:minor. A holder that is not a single thin target over this origin is left
// out, and preflight refuses it.
//
// The table of a thin may name a device under the origin: LVM's thins read vg-origin-real, the
// device under the linear vg-origin. Such a thin counts as a holder of the origin. Other devices
// over those under the origin do not count.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/source/dm/device_mapper.h"
#include "io/device_facts.h"
#include "merge/job.h"

namespace extmerge {

// read_dm_table(), or a test's own.
using ReadDmTable = std::function<std::optional<DmTable>(uint64_t device_number)>;

// Whether a holder that sysfs names is a dm device that was just removed: the kernel forgets its
// name first, and lets go of what is below it some time later. A device that is being made has no
// table for a moment: waits up to 2 s for it.
bool is_gone(const Holder& holder, const ReadDmTable& read_table = read_dm_table);

// `metadata` identifies this pool: the device in the pool's table is `metadata` or lies under it.
// Without device-mapper there are no thins. Thins among the origin's neighbours are added to its
// holders.
std::vector<ThinHolder> find_origin_thins(DeviceFacts& origin, const DeviceFacts& metadata,
                                          const ReadDmTable& read_table = read_dm_table);

// Those of `devices` that are thins.
std::vector<ThinBelow> find_thins_below(const std::vector<uint64_t>& devices,
                                        const ReadDmTable& read_table = read_dm_table);

}  // namespace extmerge
