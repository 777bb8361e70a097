// SPDX-License-Identifier: GPL-3.0-or-later
//
// Which of the devices over the origin are thins, and of which pool. sysfs
// names the holders; what each of them is only its device-mapper table says:
//
//   thin:       POOL DEV_ID [ORIGIN]
//   thin-pool:  METADATA DATA BLOCK_SIZE ...
//
// all devices as major:minor. A holder that is anything but one thin target
// over this origin is left out: preflight then knows nothing good of it.
//
// The table of a thin may name a device under the origin: LVM's vg-origin is a
// linear device over vg-origin-real, and that is what its thins read. Such a
// thin holds the origin as much as one that names it. All else that lies over
// the devices under the origin is their own business.

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

// `metadata` tells this pool from others: the device in the pool's table is
// that one or lies under it. Without device-mapper there are no thins. Those
// among the origin's neighbours become holders of it.
std::vector<ThinHolder> find_origin_thins(DeviceFacts& origin, const DeviceFacts& metadata,
                                          const ReadDmTable& read_table = read_dm_table);

// Those of `devices` that are thins.
std::vector<ThinBelow> find_thins_below(const std::vector<uint64_t>& devices,
                                        const ReadDmTable& read_table = read_dm_table);

}  // namespace extmerge
