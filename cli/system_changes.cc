// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/system_changes.h"

#include <nlohmann/json.hpp>
#include <span>

#include "cli/device_mapper.h"
#include "io/error.h"

namespace extmerge {

namespace {

constexpr const char* kSchema = "extmerge-changes/1";

using Json = nlohmann::json;

void set(Json& json, const char* key, const std::optional<uint64_t>& number) {
  json[key] = number ? Json(*number) : Json();
}

std::optional<uint64_t> number(const Json& json, const char* key) {
  const Json& value = json.at(key);
  if (value.is_null()) return {};
  return value.get<uint64_t>();
}

// As LVM makes one name of two for device-mapper.
std::string doubled(const std::string& name) {
  std::string text;
  for (const char c : name) text += c == '-' ? "--" : std::string(1, c);
  return text;
}

Json to_json(const SystemChanges& changes) {
  Json json;
  json["schema"] = kSchema;
  json["vg"] = changes.vg;
  json["thin"] = changes.thin;
  json["thin_uuid"] = changes.thin_uuid;
  json["origin"] = changes.origin;
  json["origin_uuid"] = changes.origin_uuid;
  json["freeze"] = changes.freeze;
  set(json, "freeze_id", changes.freeze_id);
  set(json, "merged_id", changes.merged_id);
  json["freeze_transaction"] = changes.freeze_transaction;
  json["pool"] = changes.pool;
  json["pool_uuid"] = changes.pool_uuid;
  json["holding"] = changes.holding;
  json["held"] = changes.held;
  json["origin_marked"] = changes.origin_marked;
  json["origin_was_active"] = changes.origin_was_active;
  json["origin_skipped_activation"] = changes.origin_skipped_activation;
  json["origin_activated"] = changes.origin_activated;
  json["thin_kept_inactive"] = changes.thin_kept_inactive;
  json["thin_was_active"] = changes.thin_was_active;
  json["pool_was_active"] = changes.pool_was_active;
  json["carrier"] = changes.carrier;
  json["boot"] = changes.boot;
  json["removing"] = changes.removing;
  return json;
}

SystemChanges from_json(const Json& json) {
  SystemChanges changes;
  changes.vg = json.at("vg").get<std::string>();
  changes.thin = json.at("thin").get<std::string>();
  changes.thin_uuid = json.at("thin_uuid").get<std::string>();
  changes.origin = json.at("origin").get<std::string>();
  changes.origin_uuid = json.at("origin_uuid").get<std::string>();
  changes.freeze = json.at("freeze").get<std::string>();
  changes.freeze_id = number(json, "freeze_id");
  changes.merged_id = number(json, "merged_id");
  changes.freeze_transaction = json.at("freeze_transaction").get<uint64_t>();
  changes.pool = json.at("pool").get<std::string>();
  changes.pool_uuid = json.at("pool_uuid").get<std::string>();
  changes.holding = json.at("holding").get<bool>();
  changes.held = json.at("held").get<std::string>();
  changes.origin_marked = json.at("origin_marked").get<bool>();
  changes.origin_was_active = json.at("origin_was_active").get<bool>();
  changes.origin_skipped_activation = json.at("origin_skipped_activation").get<bool>();
  changes.origin_activated = json.at("origin_activated").get<bool>();
  changes.thin_kept_inactive = json.at("thin_kept_inactive").get<bool>();
  changes.thin_was_active = json.at("thin_was_active").get<bool>();
  changes.pool_was_active = json.at("pool_was_active").get<bool>();
  changes.carrier = json.value("carrier", std::string());
  changes.boot = json.at("boot").get<std::string>();
  changes.removing = json.at("removing").get<bool>();
  return changes;
}

}  // namespace

bool SystemChanges::is_called(const std::string& name) const {
  if (name == thin_name() || name == "/dev/" + thin_name()) return true;
  return name == "/dev/mapper/" + (is_of_lvm() ? doubled(vg) + "-" + doubled(thin) : thin);
}

std::optional<bool> origin_is_writable(const SystemChanges& changes) {
  const std::string name = doubled(changes.vg) + "-" + doubled(changes.origin);
  std::optional<bool> writable;
  for (const uint64_t device : all_dm_devices()) {
    const auto table = read_dm_table(device);
    if (!table || (table->name != name && table->name != name + "-real")) continue;
    writable = writable.value_or(false) || !table->read_only;
  }
  return writable;
}

std::string changes_name(const std::string& journal_name) { return journal_name + ".lvm"; }

std::optional<SystemChanges> read_changes(DurableDirectory& directory,
                                          const std::string& journal_name) {
  const std::string name = changes_name(journal_name);
  const auto file = directory.open(name, false);
  if (!file) return {};
  constexpr uint64_t kMost = 1 << 20;
  std::string text(std::min(file->size().value(), kMost), '\0');
  text.resize(file->read(Bytes(0), std::as_writable_bytes(std::span(text))));
  try {
    const Json json = Json::parse(text);
    if (json.at("schema") == kSchema) return from_json(json);
  } catch (const Json::exception&) {
  }
  throw Error(MessageId::kDamagedJournal,
              directory.path() + "/" + name + " is damaged, or of another version",
              "it says what a merge has changed beside the origin (a freeze, tags); look at lvs -a "
              "-o +tags, put that right by hand, and remove the file");
}

void write_changes(DurableDirectory& directory, const std::string& journal_name,
                   const SystemChanges& changes) {
  const std::string name = changes_name(journal_name);
  const std::string text = to_json(changes).dump(1) + "\n";
  create_whole(directory, name, name + ".new", std::as_bytes(std::span(text)));
}

}  // namespace extmerge
