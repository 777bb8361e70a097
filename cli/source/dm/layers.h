// SPDX-License-Identifier: GPL-3.0-or-later
//
// Stacks of device-mapper devices, as LVM makes them below a volume: a raid and its legs, a cache
// and its parts, a thin and its pool.

#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "cli/source/dm/device_mapper.h"

namespace extmerge {

// The devices that a table names.
std::set<uint64_t> devices_of(const DmTable& table);

// Whether both tables lead to the same sectors. The kernel changes other words of a table by
// itself: a raid drops its rebuild flags, a cache counts its policy's arguments.
bool lead_to_the_same(const std::vector<DmTarget>& some, const std::vector<DmTarget>& others);

// Removes the device and what only it has used: each device below it that no other device and no
// program uses, if its uuid begins with `prefix`. LVM refuses to activate a volume while parts of
// it are left active.
void remove_unused(uint64_t device_number, const std::string& prefix, const UdevStep& udev);

}  // namespace extmerge
