// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/change_record.h"

#include <nlohmann/json.hpp>
#include <span>

#include "cli/source/dm/device_mapper.h"
#include "cli/source/lvm/report.h"
#include "io/error.h"
#include "merge/journal/journal.h"

namespace extmerge {

namespace {

using Json = nlohmann::json;

// The number changes with every change that an older version must notice.
constexpr const char* kSchema = "extmerge-changes/1";

// Each member with its key. Records of version 0.1 lack the keys under "Added since": a missing one
// leaves its member at the default.
enum class Key { kAlways, kAddedSince };

template <typename Changes, typename Visit>
void each_member(Changes& changes, const Visit& visit) {
  visit("vg", changes.vg, Key::kAlways);
  visit("thin", changes.thin, Key::kAlways);
  visit("thin_uuid", changes.thin_uuid, Key::kAlways);
  visit("origin", changes.origin, Key::kAlways);
  visit("origin_uuid", changes.origin_uuid, Key::kAlways);
  visit("freeze", changes.freeze, Key::kAlways);
  visit("freeze_id", changes.freeze_id, Key::kAlways);
  visit("merged_id", changes.merged_id, Key::kAlways);
  visit("freeze_transaction", changes.freeze_transaction, Key::kAlways);
  visit("pool", changes.pool, Key::kAlways);
  visit("pool_uuid", changes.pool_uuid, Key::kAlways);
  visit("holding", changes.holding, Key::kAlways);
  visit("held", changes.held, Key::kAlways);
  visit("origin_marked", changes.origin_marked, Key::kAlways);
  visit("origin_was_active", changes.origin_was_active, Key::kAlways);
  visit("origin_skipped_activation", changes.origin_skipped_activation, Key::kAlways);
  visit("origin_activated", changes.origin_activated, Key::kAlways);
  visit("thin_kept_inactive", changes.thin_kept_inactive, Key::kAlways);
  visit("thin_was_active", changes.thin_was_active, Key::kAlways);
  visit("pool_was_active", changes.pool_was_active, Key::kAlways);
  visit("boot", changes.boot, Key::kAlways);
  visit("removing", changes.removing, Key::kAlways);
  // Added since:
  visit("carrier", changes.carrier, Key::kAddedSince);
  visit("freeze_uuid", changes.freeze_uuid, Key::kAddedSince);
  visit("waiting", changes.waiting, Key::kAddedSince);
  visit("siblings", changes.siblings, Key::kAddedSince);
  visit("sibling_pool", changes.sibling_pool, Key::kAddedSince);
  visit("sibling_pools", changes.sibling_pools, Key::kAddedSince);
  visit("given_up", changes.given_up, Key::kAddedSince);
  visit("rest", changes.rest, Key::kAddedSince);
  visit("target", changes.target, Key::kAddedSince);
  visit("whole", changes.whole, Key::kAddedSince);
}

template <typename Value>
void put(Json& json, const char* key, const Value& value) {
  json[key] = value;
}
void put(Json& json, const char* key, const std::optional<uint64_t>& number) {
  json[key] = number ? Json(*number) : Json();
}
void put(Json& json, const char* key, const RecordedHold& hold) {
  json[key] = {{"pool", hold.pool},
               {"pool_uuid", hold.pool_uuid},
               {"holding", hold.holding},
               {"held", hold.held}};
}
void put(Json& json, const char* key, const std::vector<Member>& members) {
  json[key] = Json::array();
  for (const Member& member : members) {
    json[key].push_back({{"name", member.name},
                         {"uuid", member.uuid},
                         {"was_marked", member.was_marked},
                         {"skipped_activation", member.skipped_activation}});
  }
}
void put(Json& json, const char* key, const Rest& rest) {
  json[key] = {{"name", rest.name},     {"uuid", rest.uuid},      {"from", rest.from},
               {"length", rest.length}, {"whole", rest.is_whole}, {"carrier", rest.carrier}};
}

template <typename Value>
void get(const Json& value, Value& member) {
  member = value.get<Value>();
}
void get(const Json& value, std::optional<uint64_t>& member) {
  if (!value.is_null()) member = value.get<uint64_t>();
}
void get(const Json& value, RecordedHold& hold) {
  hold = {value.at("pool").get<std::string>(), value.at("pool_uuid").get<std::string>(),
          value.at("holding").get<bool>(), value.at("held").get<std::string>()};
}
void get(const Json& value, std::vector<Member>& members) {
  for (const Json& one : value) {
    members.push_back({one.at("name").get<std::string>(), one.at("uuid").get<std::string>(),
                       one.at("was_marked").get<bool>(), one.at("skipped_activation").get<bool>()});
  }
}
void get(const Json& value, Rest& rest) {
  rest = {value.at("name").get<std::string>(), value.at("uuid").get<std::string>(),
          value.at("from").get<uint64_t>(),    value.at("length").get<uint64_t>(),
          value.at("whole").get<bool>(),       value.at("carrier").get<std::string>()};
}

Json to_json(const SystemChanges& changes) {
  Json json;
  json["schema"] = kSchema;
  each_member(changes, [&](const char* key, const auto& member, Key) { put(json, key, member); });
  return json;
}

// Moves all known keys from `json` into the members.
SystemChanges take_changes(Json& json) {
  SystemChanges changes;
  each_member(changes, [&](const char* key, auto& member, Key kind) {
    if (kind == Key::kAddedSince && !json.contains(key)) return;
    get(json.at(key), member);
    json.erase(key);
  });
  return changes;
}

Error of_newer_version(const std::string& path, const std::string& what) {
  return Error(MessageId::kDamagedJournal,
               path + " was written by a newer version of extmerge: it has " + what +
                   ", which this version does not know",
               "use that version for this origin");
}

}  // namespace

bool SystemChanges::is_called(const std::string& name) const {
  if (name == thin_name() || name == "/dev/" + thin_name()) return true;
  return name == "/dev/mapper/" + (is_of_lvm() ? node_of_volume(vg, thin) : thin);
}

std::vector<std::string> SystemChanges::given_up_names() const {
  std::vector<std::string> names;
  for (const Member& member : given_up) names.push_back(vg + "/" + member.name);
  return names;
}

std::optional<bool> origin_is_writable(const SystemChanges& changes) {
  if (changes.origin_uuid.empty()) return {};
  std::optional<bool> writable;
  for (const uint64_t device : all_dm_devices()) {
    const auto table = read_dm_table(device);
    if (!table || lv_uuid_of_node(table->uuid) != changes.origin_uuid) continue;
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
  const std::string path = directory.path() + "/" + name;
  try {
    Json json = Json::parse(text);
    const auto schema = json.at("schema").get<std::string>();
    if (schema != kSchema && schema.starts_with("extmerge-changes/"))
      throw of_newer_version(path, "the format " + schema);
    if (schema == kSchema) {
      const SystemChanges changes = take_changes(json);
      json.erase("schema");
      // A newer version may rely on this key, and this version would not update it.
      if (!json.empty()) throw of_newer_version(path, "the key " + json.begin().key());
      return changes;
    }
  } catch (const Json::exception&) {
  }
  throw Error(MessageId::kDamagedJournal, path + " is damaged",
              "it records the changes of a merge besides the data (a freeze, tags): see lvs -a -o "
              "+tags, put these changes back by hand, and remove the file");
}

void write_changes(DurableDirectory& directory, const std::string& journal_name,
                   const SystemChanges& changes) {
  const std::string name = changes_name(journal_name);
  const std::string text = to_json(changes).dump(1) + "\n";
  create_whole(directory, name, unpublished_name(name), std::as_bytes(std::span(text)));
}

void RecordedChanges::write() const {
  if (!is_removed) write_changes(*place.directory, place.name, changes);
}

}  // namespace extmerge
