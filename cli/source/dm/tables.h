// SPDX-License-Identifier: GPL-3.0-or-later
//
// The tables of thins and pools, as Documentation/admin-guide/device-mapper/thin-provisioning.rst
// gives them:
//
//   thin       POOL DEV_ID [EXTERNAL_ORIGIN]
//   thin-pool  METADATA DATA BLOCK_SIZE ...

#pragma once

#include <cstdint>
#include <optional>

#include "cli/source/dm/device_mapper.h"
#include "io/units.h"

namespace extmerge {

// Devices are device numbers.
struct ThinTable {
  uint64_t pool = 0;
  ThinId id{};
  std::optional<uint64_t> origin;
};

struct PoolTable {
  uint64_t metadata = 0, data = 0;
};

bool is_thin(const DmTable& table);

// Nothing if the table is not one target of that type, or lacks one of these arguments.
std::optional<ThinTable> thin_table(const DmTable& table);
std::optional<PoolTable> pool_table(const DmTable& table);

}  // namespace extmerge
