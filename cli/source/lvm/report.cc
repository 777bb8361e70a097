// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/error.h"
#include "io/text.h"

namespace extmerge {

namespace {

Error not_understood(const std::string& what) {
  return Error(MessageId::kLvmRefused,
               "the report of LVM about its volumes is not understood: " + what,
               "report it with the output of lvs -a --reportformat json and the version of LVM");
}

// lvs prints numbers as strings; a later version may print numbers.
std::string text_of(const nlohmann::json& row, const char* field) {
  const auto found = row.find(field);
  if (found == row.end()) throw not_understood(std::string("there is no ") + field);
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_unsigned()) return std::to_string(found->get<uint64_t>());
  if (found->is_null()) return "";
  throw not_understood(std::string(field) + " is " + found->dump());
}

std::optional<uint64_t> number_of(const nlohmann::json& row, const char* field) {
  const std::string text = text_of(row, field);
  if (text.empty()) return {};
  uint64_t number = 0;
  if (parse_whole(text, number)) return number;
  throw not_understood(std::string(field) + " is '" + text + "'");
}

// lvs shows hidden volumes in brackets.
std::string name_of(const nlohmann::json& row, const char* field) {
  const std::string text = text_of(row, field);
  if (text.starts_with('[') && text.ends_with(']')) return text.substr(1, text.size() - 2);
  return text;
}

bool flag_of(const nlohmann::json& row, const char* field) {
  const std::string text = text_of(row, field);
  return !text.empty() && text != "0";
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& strings, std::string_view string) {
  return std::find(strings.begin(), strings.end(), string) != strings.end();
}

LogicalVolume volume_of(const nlohmann::json& row) {
  LogicalVolume volume;
  volume.vg = text_of(row, "vg_name");
  volume.vg_uuid = text_of(row, "vg_uuid");
  volume.vg_shared = flag_of(row, "vg_shared");
  volume.vg_exported = flag_of(row, "vg_exported");
  volume.vg_partial = flag_of(row, "vg_partial");
  volume.vg_free = Bytes(number_of(row, "vg_free").value_or(0));
  volume.vg_metadata_free = number_of(row, "vg_mda_free");
  volume.name = name_of(row, "lv_name");
  volume.uuid = text_of(row, "lv_uuid");
  volume.attr = text_of(row, "lv_attr");
  volume.segment_type = text_of(row, "segtype");
  volume.size = Bytes(number_of(row, "lv_size").value_or(0));
  volume.chunk_size = Bytes(number_of(row, "chunk_size").value_or(0));
  volume.tags = split(text_of(row, "lv_tags"), ',');
  volume.vg_tags = split(text_of(row, "vg_tags"), ',');
  volume.origin = name_of(row, "origin");
  volume.ancestors = split(text_of(row, "lv_ancestors"), ',');
  const std::vector<std::string> roles = split(text_of(row, "lv_role"), ',');
  volume.is_external_origin_of_many = contains(roles, "multiextthinorigin");
  volume.is_external_origin = contains(roles, "extthinorigin");
  if (contains(roles, "thinorigin")) volume.snapshots = LogicalVolume::Snapshots::kOne;
  if (contains(roles, "multithinorigin")) volume.snapshots = LogicalVolume::Snapshots::kMany;
  volume.pool = name_of(row, "pool_lv");
  volume.data = name_of(row, "data_lv");
  volume.metadata = name_of(row, "metadata_lv");
  volume.thin_id = number_of(row, "thin_id");
  volume.transaction_id = number_of(row, "transaction_id");
  volume.skips_activation = flag_of(row, "lv_skip_activation");
  return volume;
}

// Calls `take` for each row of a kind, "lv" or "vg".
template <typename Take>
void each_row(const std::string& json, const char* kind, const Take& take) {
  try {
    const nlohmann::json whole = nlohmann::json::parse(json);
    for (const nlohmann::json& report : whole.at("report")) {
      for (const nlohmann::json& row : report.at(kind)) take(row);
    }
  } catch (const nlohmann::json::exception& error) {
    throw not_understood(error.what());
  }
}

// The string whose first quote is at `i`. Moves `i` to its last quote, or to the end of the text.
std::string take_string(std::string_view text, size_t& i) {
  std::string string;
  for (++i; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    string += text[i];
  }
  return string;
}

// Adds each part once: LVM repeats some messages.
void add_part(std::string& text, const std::string& part) {
  if (text == part || text.ends_with("; " + part)) return;
  text += (text.empty() ? "" : "; ") + part;
}

std::string without_dashes(std::string uuid) {
  std::erase(uuid, '-');
  return uuid;
}

}  // namespace

bool LogicalVolume::has_tag(std::string_view tag) const { return contains(tags, tag); }

std::string LogicalVolume::dm_uuid(std::string_view layer) const {
  return "LVM-" + without_dashes(vg_uuid) + without_dashes(uuid) + std::string(layer);
}

std::string node_of_volume(const std::string& vg, const std::string& name) {
  const auto doubled = [](const std::string& part) {
    std::string text;
    for (const char c : part) text += c == '-' ? "--" : std::string(1, c);
    return text;
  };
  return doubled(vg) + "-" + doubled(name);
}

std::string volume_of_node(std::string_view node) {
  std::string name;
  bool in_group = true;
  for (size_t i = 0; i < node.size(); ++i) {
    if (node[i] != '-') {
      name += node[i];
    } else if (node.substr(i).starts_with("--")) {
      name += node[i++];
    } else if (in_group) {
      in_group = false;
      name += '/';
    } else {
      break;  // the layer
    }
  }
  return in_group || name.starts_with('/') || name.ends_with('/') ? "" : name;
}

std::string lv_uuid_of_node(std::string_view dm_uuid) {
  constexpr size_t kGroup = 32, kVolume = 32;
  constexpr std::string_view kBegin = "LVM-";
  if (!dm_uuid.starts_with(kBegin) || dm_uuid.size() < kBegin.size() + kGroup + kVolume) return {};
  std::string uuid(dm_uuid.substr(kBegin.size() + kGroup, kVolume));
  for (const size_t dash : {6u, 11u, 16u, 21u, 26u, 31u}) uuid.insert(dash, "-");
  return uuid;
}

std::string lvs_fields() {
  return "vg_name,vg_uuid,vg_shared,vg_exported,vg_partial,vg_free,vg_mda_free,vg_tags,lv_name,"
         "lv_uuid,lv_attr,lv_size,lv_tags,segtype,origin,lv_ancestors,lv_role,pool_lv,data_lv,"
         "metadata_lv,"
         "chunk_size,thin_id,transaction_id,lv_skip_activation";
}

std::string vgs_fields() { return "vg_name,vg_uuid,vg_shared,vg_exported"; }

std::vector<LogicalVolume> parse_lvs(const std::string& json) {
  std::vector<LogicalVolume> volumes;
  each_row(json, "lv", [&](const nlohmann::json& row) {
    LogicalVolume volume = volume_of(row);
    // A volume of several segments has one row for each.
    const bool known = std::ranges::any_of(volumes, [&](const LogicalVolume& other) {
      return other.uuid == volume.uuid && other.segment_type == volume.segment_type;
    });
    if (!known) volumes.push_back(std::move(volume));
  });
  return volumes;
}

std::vector<VolumeGroup> parse_vgs(const std::string& json) {
  std::vector<VolumeGroup> groups;
  each_row(json, "vg", [&](const nlohmann::json& row) {
    groups.push_back({text_of(row, "vg_name"), text_of(row, "vg_uuid"), flag_of(row, "vg_shared"),
                      flag_of(row, "vg_exported")});
  });
  return groups;
}

std::string reason_in_log(const std::string& json) {
  std::string failures, warnings;
  const nlohmann::json whole = nlohmann::json::parse(json, nullptr, false);
  if (!whole.is_object() || !whole.contains("log") || !whole["log"].is_array()) return {};
  for (const nlohmann::json& row : whole["log"]) {
    if (!row.is_object()) continue;
    const std::string type = row.value("log_type", nlohmann::json()).dump();
    const nlohmann::json message = row.value("log_message", nlohmann::json());
    if (!message.is_string()) continue;
    if (type == "\"error\"") add_part(failures, message.get<std::string>());
    if (type == "\"warn\"") add_part(warnings, message.get<std::string>());
  }
  return failures.empty() ? warnings : failures;
}

// The reason comes last, after LVM's other warnings.
std::string reason_in_lines(const std::string& errors) {
  constexpr size_t kMost = 4;
  std::vector<std::string> lines;
  for (const std::string& line : split(errors, '\n')) {
    const size_t begin = line.find_first_not_of(' ');
    if (begin == std::string::npos || line.compare(begin, 8, "WARNING:") == 0) continue;
    lines.push_back(line.substr(begin));
  }
  std::string text;
  for (size_t i = lines.size() - std::min(lines.size(), kMost); i < lines.size(); ++i) {
    add_part(text, lines[i]);
  }
  return text;
}

std::vector<std::string> parse_setting(std::string_view text) {
  std::vector<std::string> strings;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') strings.push_back(take_string(text, i));
  }
  return strings;
}

bool has_any_tag(const LogicalVolume& volume, const std::vector<std::string>& host_tags) {
  return std::any_of(host_tags.begin(), host_tags.end(), [&](const std::string& tag) {
    return volume.has_tag(tag) || contains(volume.vg_tags, tag);
  });
}

bool is_in_volume_list(const std::vector<std::string>& list, const LogicalVolume& volume,
                       const std::vector<std::string>& host_tags) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& item) {
    if (item == "@*") return has_any_tag(volume, host_tags);
    if (item.starts_with('@')) return has_any_tag(volume, {item.substr(1)});
    return item == volume.vg || item == volume.full_name();
  });
}

}  // namespace extmerge
