// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/json.h"

#include <nlohmann/json.hpp>

namespace extmerge {

namespace {

using Json = nlohmann::ordered_json;

Json document() { return Json{{"schema", "extmerge/1"}}; }

// A path may hold bytes that are not UTF-8; the replacement character stands for them.
std::string text_of(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json optional_bytes(const std::optional<Bytes>& bytes) {
  return bytes ? Json(bytes->value()) : Json(nullptr);
}

Json optional_text(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json describe(const Error& error) {
  return {{"id", to_string(error.id())}, {"message", error.what()}, {"next", error.next()}};
}

Json describe_with_status(const Error& error) {
  Json json = describe(error);
  json["exit_status"] = error.exit_status();
  return json;
}

Json base_json(const std::optional<Base>& base) {
  if (!base) return nullptr;
  return {{"pool_time", base->time},
          {"end_bytes", base->end.value()},
          {"verified", base->verified == Verified::kEverything ? "full"
                       : base->verified == Verified::kSample   ? "sample"
                                                               : "none"},
          {"merged_at", base->created_at}};
}

void add_plan(Json& json, const PlanReport& report, const DeviceNames& names) {
  const PlanSummary& sum = report.summary;
  json["plan_id"] = to_string(sum.digest);
  json["thin_id"] = value(report.thin_id);
  json["metadata"] = names.metadata;
  json["data"] = names.data;
  json["origin"] = names.origin;
  json["target"] = optional_text(names.target);
  json["target_bytes"] = report.is_copy ? Json(report.target_bytes.value()) : Json(nullptr);
  json["whole"] = report.is_whole;
  json["source"] = optional_text(names.thin_name);
  json["data_block_size"] = report.limits.block_size.bytes().value();
  json["metadata_snap"] = report.metadata_snap.value();
  json["transaction_id"] = report.transaction_id;
  json["mapped_blocks"] = sum.mapped_blocks;
  json["mapped_bytes"] = report.limits.block_size.length(sum.mapped_blocks).value();
  json["runs"] = sum.runs - sum.held_runs;
  json["copy_blocks"] = sum.copy_blocks;
  json["copy_bytes"] = sum.copy_bytes.value();
  json["beyond_origin_bytes"] = sum.beyond_origin_bytes.value();
  json["beyond_thin_bytes"] = sum.beyond_thin_bytes.value();
  json["origin_bytes"] = report.origin_bytes.value();
  json["thin_bytes"] = optional_bytes(report.limits.thin_end);
  json["siblings_known"] = report.siblings_are_known;
  json["siblings"] = Json::array();
  for (const Sibling& sibling : report.siblings) {
    json["siblings"].push_back(
        {{"thin_id", value(sibling.id)},
         {"name", optional_text(sibling.name)},
         {"harmed_blocks", sibling.harmed_blocks},
         {"copy_up_blocks", report.keeps_siblings ? sibling.harmed_blocks : 0},
         {"block_size", sibling.block_size == DataBlockSize()
                            ? Json(nullptr)
                            : Json(sibling.block_size.bytes().value())},
         {"unreadable", sibling.unreadable}});
  }
  json["chain"] = report.chain;
  json["given_up"] = report.given_up;
  json["undo_log_estimate"] = nullptr;
  if (report.undo_log) {
    json["undo_log_estimate"] = {{"path", report.undo_log->path},
                                 {"expected_bytes", optional_bytes(report.undo_log->expected)},
                                 {"most_bytes", report.undo_log->most.value()}};
  }
  json["round"] = report.base ? "since" : "full";
  json["base"] = base_json(report.base);
  json["full_reason"] = optional_text(report.full_reason);
  json["notes"] = report.notes;
}

void add_counters(Json& json, const CopyCounters& counters) {
  json["bytes_read"] = counters.bytes_read.value();
  json["bytes_compared_equal"] = counters.bytes_compared_equal.value();
  json["bytes_written"] = counters.bytes_written.value();
}

void add_changes(Json& json, const SystemChanges& changes) {
  json["freeze"] = changes.freeze.empty() ? Json(nullptr) : Json(changes.vg + "/" + changes.freeze);
  json["half_merged"] = changes.origin_marked;
  json["metadata_snapshot_held"] = changes.is_holding();
  json["removing"] = changes.removing;
  json["given_up"] = changes.given_up_names();
  json["waiting"] = changes.waiting;
  json["thin_kept_inactive"] = changes.thin_kept_inactive;
  json["pool_activated"] = !changes.pool_was_active;
  const std::optional<bool> writable = origin_is_writable(changes);
  json["origin_writable"] = writable ? Json(*writable) : Json(nullptr);
}

Json status_members(const MergeStatus& status) {
  Json json;
  json["journal"] = status.journal;
  if (status.damage) {
    json["error"] = describe_with_status(*status.damage);
    return json;
  }
  const MergeRecord& record = status.record;
  json["state"] = state_text(status.state);
  json["running"] = status.running;
  json["plan_id"] = to_string(record.digest);
  json["thin_id"] = value(record.thin_id);
  json["metadata"] = record.metadata.path;
  json["data"] = record.data.path;
  json["origin"] = record.is_copy() ? record.copy->origin.path : record.origin.path;
  json["target"] = record.is_copy() ? Json(record.origin.path) : Json(nullptr);
  json["whole"] = record.is_copy() && record.copy->whole;
  json["data_block_size"] = record.block_size.bytes().value();
  json["mapped_blocks"] = record.mapped_blocks;
  json["runs"] = record.runs;
  const Bytes destination = record.origin_size_after;
  json["origin_bytes"] = (record.is_copy() ? record.copy->origin_size : destination).value();
  json["target_bytes"] = record.is_copy() ? Json(destination.value()) : Json(nullptr);
  json["thin_bytes"] = optional_bytes(record.thin_size);
  json["round"] = record.base ? "since" : "full";
  json["base"] = base_json(record.base);
  json["total_bytes"] = record.copy_bytes.value();
  json["durable_bytes"] = status.progress.position.value();
  add_counters(json, status.progress.counters);
  json["undo_log"] = optional_text(record.undo_log);
  json["created_at"] = record.created_at;
  return json;
}

}  // namespace

std::string plan_json(const PlanReport& report, const DeviceNames& names) {
  Json json = document();
  add_plan(json, report, names);
  json["resumable_from"] = optional_bytes(report.resumable_from);
  const bool is_done = report.nothing_new && report.refusals.empty();
  json["state"] = is_done ? "done" : report.resumable_from ? "copying" : "planned";
  json["map"] = nullptr;
  if (report.map) {
    const PlannedShares shares = shares_of(*report.map);
    json["map"] = {{"compared_bytes", report.map->total(OriginMap::kCompared).value()},
                   {"equal_bytes", shares.equal.value()},
                   {"different_bytes", shares.different.value()},
                   {"unknown_bytes", shares.unknown.value()},
                   {"exact", report.map->is_exact()}};
  }
  json["refusals"] = Json::array();
  for (const Error& refusal : report.refusals) json["refusals"].push_back(describe(refusal));
  return text_of(json);
}

std::string merge_json(const MergeReport& report, const DeviceNames& names) {
  Json json = document();
  add_plan(json, report.plan, names);
  add_counters(json, report.counters);
  json["seconds"] = report.seconds;
  json["resumed_from"] = report.resumed_from.value();
  json["verified"] = verified_text(report.verified);
  json["journal"] = report.journal;
  json["undo_log"] = optional_text(report.undo_log);
  json["state"] = state_text(report.state);
  json["total_bytes"] = report.total_bytes.value();
  json["durable_bytes"] = report.durable_bytes.value();
  return text_of(json);
}

std::string verify_json(const VerifyReport& report, const DeviceNames& names) {
  Json json = document();
  add_plan(json, report.plan, names);
  json["equal"] = !report.result.first_difference.has_value();
  json["bytes_compared"] = report.result.bytes_compared.value();
  json["bytes_different"] = report.result.bytes_different.value();
  json["first_difference"] = optional_bytes(report.result.first_difference);
  json["seconds"] = report.seconds;
  return text_of(json);
}

std::string contents_json(const ContentsReport& report, const DeviceNames& names,
                          const std::string& path) {
  Json json = document();
  json["thin_id"] = value(report.thin_id);
  json["source"] = optional_text(names.thin_name);
  json["origin"] = names.origin;
  json["thin_bytes"] = report.limits.mapped.end.value();
  json["data_block_size"] = report.limits.mapped.block_size.bytes().value();
  json["data_bytes"] = report.of(Content::kPoolData).value();
  json["origin_bytes"] = report.of(Content::kOrigin).value();
  json["zero_bytes"] = report.of(Content::kZeros).value();
  json["same_bytes"] = report.of(Content::kSame).value();
  json["ranges"] = report.ranges;
  json["exported"] = path;
  json["notes"] = report.notes;
  return text_of(json);
}

std::string undo_json(const UndoReport& report) {
  Json json = document();
  json["journal"] = report.journal;
  json["origin"] = report.origin;
  json["undo_log"] = optional_text(report.undo_log);
  json["state"] = "undone";
  json["undone_before"] = report.was_undone;
  json["ranges"] = report.ranges;
  json["bytes_put_back"] = report.saved_bytes.value();
  json["origin_bytes"] = report.origin_bytes.value();
  json["seconds"] = report.seconds;
  return text_of(json);
}

std::string abort_json(const std::string& journal, const std::string& origin, Bytes copied) {
  Json json = document();
  json["journal"] = journal;
  json["origin"] = origin;
  json["state"] = "aborted";
  json["durable_bytes"] = copied.value();
  return text_of(json);
}

std::string status_json(const MergeStatus& status, const std::optional<SystemChanges>& changes) {
  Json json = document();
  json.update(status_members(status));
  json["source"] = changes ? Json(changes->thin_name()) : Json(nullptr);
  if (changes) add_changes(json, *changes);
  return text_of(json);
}

std::string changes_json(const SystemChanges& changes) {
  Json json = document();
  json["state"] = nullptr;
  json["source"] = changes.thin_name();
  add_changes(json, changes);
  return text_of(json);
}

std::string status_list_json(const std::vector<MergeStatus>& all) {
  Json json = document();
  json["merges"] = Json::array();
  for (const MergeStatus& status : all) json["merges"].push_back(status_members(status));
  return text_of(json);
}

std::string error_json(const Error& error) {
  Json json = document();
  json["error"] = describe_with_status(error);
  return text_of(json);
}

}  // namespace extmerge
