// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/tables.h"

#include "io/text.h"

namespace extmerge {

namespace {

bool is_one_target(const DmTable& table, const char* type) {
  return table.targets.size() == 1 && table.targets[0].type == type;
}

// The arguments of a table that is one target of that type; none of another table.
std::vector<std::string> arguments_of(const DmTable& table, const char* type) {
  if (!is_one_target(table, type)) return {};
  return table.targets[0].arguments;
}

}  // namespace

bool is_thin(const DmTable& table) { return is_one_target(table, "thin"); }

std::optional<ThinTable> thin_table(const DmTable& table) {
  const std::vector<std::string> arguments = arguments_of(table, "thin");
  if (arguments.size() < 2) return {};
  const auto pool = parse_device_number(arguments[0]);
  uint32_t id = 0;
  if (!pool || !parse_whole(arguments[1], id)) return {};
  ThinTable thin{*pool, static_cast<ThinId>(id), {}};
  if (arguments.size() > 2) thin.origin = parse_device_number(arguments[2]);
  return thin;
}

std::optional<PoolTable> pool_table(const DmTable& table) {
  const std::vector<std::string> arguments = arguments_of(table, "thin-pool");
  if (arguments.size() < 2) return {};
  const auto metadata = parse_device_number(arguments[0]);
  const auto data = parse_device_number(arguments[1]);
  if (!metadata || !data) return {};
  return PoolTable{*metadata, *data};
}

}  // namespace extmerge
