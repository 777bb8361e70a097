// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/holders.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace extmerge {

namespace {

std::optional<uint64_t> device_argument(const DmTarget& target, size_t index) {
  if (index >= target.arguments.size()) return {};
  return parse_device_number(target.arguments[index]);
}

// The metadata device of the pool with that device number.
std::optional<uint64_t> metadata_of_pool(const ReadDmTable& read_table, uint64_t pool) {
  const auto table = read_table(pool);
  if (!table || table->targets.size() != 1 || table->targets[0].type != "thin-pool") return {};
  return device_argument(table->targets[0], 0);
}

bool contains(const std::vector<uint64_t>& numbers, uint64_t number) {
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

// The thin id in a table with one thin target.
std::optional<ThinId> thin_id_of(const DmTable& table) {
  if (table.targets.size() != 1 || table.targets[0].type != "thin") return {};
  if (table.targets[0].arguments.size() < 2) return {};
  uint32_t id = 0;
  const std::string& digits = table.targets[0].arguments[1];
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
  if (failure != std::errc() || end != digits.data() + digits.size()) return {};
  return static_cast<ThinId>(id);
}

// `holder`, if it is a thin whose external origin is the origin or lies under it.
std::optional<ThinHolder> thin_over(const ReadDmTable& read_table, const DeviceFacts& origin,
                                    const DeviceFacts& metadata, uint64_t holder) {
  const auto table = read_table(holder);
  const auto id = table ? thin_id_of(*table) : std::nullopt;
  if (!id) return {};
  const DmTarget& target = table->targets[0];
  const auto pool = device_argument(target, 0);
  const auto external_origin = device_argument(target, 2);
  if (!pool || !external_origin || !contains(origin.underlying, *external_origin)) return {};

  ThinHolder thin;
  thin.device_number = holder;
  thin.name = table->name;
  thin.id = *id;
  thin.read_only = table->read_only;
  if (const auto pools_metadata = metadata_of_pool(read_table, *pool)) {
    thin.of_this_pool =
        *pools_metadata == metadata.device_number || contains(metadata.underlying, *pools_metadata);
  }
  return thin;
}

}  // namespace

std::vector<ThinHolder> find_origin_thins(DeviceFacts& origin, const DeviceFacts& metadata,
                                          const ReadDmTable& read_table) {
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
    const auto id = table ? thin_id_of(*table) : std::nullopt;
    if (!id) continue;
    ThinBelow thin{table->name, *id, 0, device_argument(table->targets[0], 2).value_or(0)};
    if (const auto pool = device_argument(table->targets[0], 0))
      thin.pool_metadata = metadata_of_pool(read_table, *pool).value_or(0);
    thins.push_back(std::move(thin));
  }
  return thins;
}

}  // namespace extmerge
