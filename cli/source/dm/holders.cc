// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/holders.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "cli/source/dm/tables.h"

namespace extmerge {

namespace {

// The metadata device of the pool with that device number.
std::optional<uint64_t> metadata_of_pool(const ReadDmTable& read_table, uint64_t pool) {
  const auto table = read_table(pool);
  const auto devices = table ? pool_table(*table) : std::nullopt;
  if (!devices) return {};
  return devices->metadata;
}

// Whether the device is below the origin only as the external origin of a thin: nothing that is
// written to the origin reaches it.
bool is_below_thin(const ReadDmTable& read_table, const DeviceFacts& origin, uint64_t device) {
  return std::ranges::any_of(origin.underlying, [&](uint64_t number) {
    const auto table = read_table(number);
    const auto thin = table ? thin_table(*table) : std::nullopt;
    return thin && thin->origin == device;
  });
}

// `holder`, if it is a thin whose external origin is the origin or lies under it.
std::optional<ThinHolder> thin_over(const ReadDmTable& read_table, const DeviceFacts& origin,
                                    const DeviceFacts& metadata, uint64_t holder) {
  const auto table = read_table(holder);
  const auto found = table ? thin_table(*table) : std::nullopt;
  if (!found || !found->origin || !contains(origin.underlying, *found->origin)) return {};
  if (is_below_thin(read_table, origin, *found->origin)) return {};

  ThinHolder thin;
  thin.device_number = holder;
  thin.name = table->name;
  thin.uuid = table->uuid;
  thin.id = found->id;
  thin.writable = !table->read_only && !table->suspended;
  if (const auto pools_metadata = metadata_of_pool(read_table, found->pool)) {
    thin.of_this_pool =
        *pools_metadata == metadata.device_number || contains(metadata.underlying, *pools_metadata);
  }
  return thin;
}

}  // namespace

bool is_gone(const Holder& holder, const ReadDmTable& read_table) {
  if (!holder.name.starts_with("dm-")) return false;
  constexpr unsigned kTries = 40;
  for (unsigned i = 0; i < kTries; ++i) {
    const auto table = read_table(holder.device_number);
    if (!table) return true;
    if (!table->targets.empty()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

std::vector<ThinHolder> find_origin_thins(DeviceFacts& origin, const DeviceFacts& metadata,
                                          const ReadDmTable& read_table) {
  std::erase_if(origin.holders, [&](const Holder& one) { return is_gone(one, read_table); });
  std::vector<ThinHolder> thins;
  const auto add_if_thin = [&](const Holder& holder, bool of_layer_below) {
    if (!holder.name.starts_with("dm-")) return false;
    const auto thin = thin_over(read_table, origin, metadata, holder.device_number);
    if (!thin) return false;
    spdlog::debug("{} is thin {} of {} pool", thin->name, value(thin->id),
                  thin->of_this_pool ? "this" : "another");
    thins.push_back(*thin);
    thins.back().of_layer_below = of_layer_below;
    return true;
  };
  for (const Holder& holder : origin.holders) add_if_thin(holder, false);
  for (const Holder& neighbour : origin.neighbours) {
    if (add_if_thin(neighbour, true)) origin.holders.push_back(neighbour);
  }
  return thins;
}

std::vector<ThinBelow> find_thins_below(const std::vector<uint64_t>& devices,
                                        const ReadDmTable& read_table) {
  std::vector<ThinBelow> thins;
  for (const uint64_t number : devices) {
    const auto table = read_table(number);
    const auto found = table ? thin_table(*table) : std::nullopt;
    if (!found) continue;
    thins.push_back({table->name, found->id, metadata_of_pool(read_table, found->pool).value_or(0),
                     found->origin.value_or(0)});
  }
  return thins;
}

}  // namespace extmerge
