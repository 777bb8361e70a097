// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/layers.h"

#include <algorithm>
#include <string_view>

#include "cli/source/dm/holders.h"
#include "io/sysfs.h"

namespace extmerge {

namespace {

// Targets whose words are all chosen by the one who loads the table.
bool is_simple(const std::string& type) {
  return type == "linear" || type == "striped" || type == "thin" || type == "error";
}

// The devices that the words name, in their order.
std::vector<uint64_t> devices_of(const DmTarget& target) {
  constexpr std::string_view kMetadata = "meta_device:";  // dm-integrity
  std::vector<uint64_t> devices;
  for (const std::string& word : target.arguments) {
    const size_t begin = word.starts_with(kMetadata) ? kMetadata.size() : 0;
    if (const auto device = parse_device_number(word.substr(begin))) devices.push_back(*device);
  }
  return devices;
}

// Whether another device lies over this one.
bool is_held(uint64_t device_number) {
  const SystemRoot root;
  return std::ranges::any_of(SysfsBlock(root, device_number).holders(), [&](uint64_t holder) {
    return !is_gone({SysfsBlock(root, holder).kernel_name(), holder});
  });
}

bool leads_to_the_same(const DmTarget& one, const DmTarget& other) {
  if (one == other) return true;
  if (one.type != other.type || one.start != other.start || one.length != other.length)
    return false;
  return !is_simple(one.type) && devices_of(one) == devices_of(other);
}

}  // namespace

std::set<uint64_t> devices_of(const DmTable& table) {
  std::set<uint64_t> devices;
  for (const DmTarget& target : table.targets) {
    for (const uint64_t device : devices_of(target)) devices.insert(device);
  }
  return devices;
}

bool lead_to_the_same(const std::vector<DmTarget>& some, const std::vector<DmTarget>& others) {
  return std::ranges::equal(some, others, leads_to_the_same);
}

void remove_unused(uint64_t device_number, const std::string& prefix, const UdevStep& udev) {
  const auto table = read_dm_table(device_number);
  if (!table || !table->uuid.starts_with(prefix)) return;
  // udev opens a device for a moment, and a holder that was just removed still has it open.
  if (is_held(device_number) || !closes_soon(device_number) ||
      !remove_dm_device(device_number, udev))
    return;
  for (const uint64_t below : devices_of(*table)) remove_unused(below, prefix, udev);
}

}  // namespace extmerge
