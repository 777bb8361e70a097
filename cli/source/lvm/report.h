// SPDX-License-Identifier: GPL-3.0-or-later
//
// Parses LVM's output: `lvs` and `vgs` in JSON, the command log, and single settings.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/units.h"

namespace extmerge {

struct VolumeGroup {
  std::string name, uuid;
  bool shared = false, exported = false;
};

struct LogicalVolume {
  std::string vg, vg_uuid;
  std::string name, uuid;  // a hidden volume's name without its brackets
  std::string attr;        // lv_attr, 10 characters (lvs(8))
  std::string segment_type;
  std::string origin;  // as in lvs: the parent for an internal snapshot
  // Its parent, the parent's parent and so on (lv_ancestors). An internal snapshot has its parents
  // first, then their external origin.
  std::vector<std::string> ancestors;
  bool is_external_origin = false, is_external_origin_of_many = false;
  // How many thins of its own pool are its snapshots: kNone, kOne or kMany (two or more).
  enum class Snapshots { kNone, kOne, kMany } snapshots = Snapshots::kNone;
  std::string pool, data, metadata;
  std::vector<std::string> tags, vg_tags;
  Bytes size;
  Bytes chunk_size;                 // of a pool
  std::optional<uint64_t> thin_id;  // of a thin
  // A pool's transaction id; for a thin, the pool's when the thin was made.
  std::optional<uint64_t> transaction_id;
  bool vg_shared = false, vg_exported = false, vg_partial = false;
  Bytes vg_free;
  std::optional<uint64_t> vg_metadata_free;  // bytes that the metadata of its group may grow
  bool skips_activation = false;

  bool is_thin() const { return segment_type == "thin"; }
  bool is_writable() const { return attr.size() > 1 && attr[1] == 'w'; }
  bool is_active() const { return attr.size() > 4 && attr[4] != '-' && attr[4] != 'X'; }
  bool is_open() const { return attr.size() > 5 && attr[5] == 'o'; }
  bool has_tag(std::string_view tag) const;
  // "vg/name", for messages and LVM.
  std::string full_name() const { return vg + "/" + name; }
  // "LVM-" and both uuids without dashes; `layer` is a suffix such as "-real".
  std::string dm_uuid(std::string_view layer = {}) const;
  // The identity of its device (DeviceFacts::identity), active or not.
  std::string identity() const { return "dm:" + dm_uuid(); }
};

// The volume of LVM's node, "vg-1/snap" for "vg--1-snap" or "vg--1-snap-real". Empty if LVM does
// not use such a name.
std::string volume_of_node(std::string_view node);
// The reverse: "vg--1-snap" for "vg-1" and "snap".
std::string node_of_volume(const std::string& vg, const std::string& name);
// A volume's uuid in LVM's form, from the dm uuid of its node or layer ("LVM-..."). Empty for other
// uuids.
std::string lv_uuid_of_node(std::string_view dm_uuid);

// The fields for lvs -o.
std::string lvs_fields();
// Parses the output of `lvs -a --reportformat json --units b --nosuffix -o FIELDS`. Numbers may be
// JSON strings or numbers. Throws Error(kLvmRefused) for anything else.
std::vector<LogicalVolume> parse_lvs(const std::string& json);
// The fields for vgs -o.
std::string vgs_fields();
std::vector<VolumeGroup> parse_vgs(const std::string& json);

// The reason of a failure, from the command log in LVM's JSON (log/report_command_log): errors, or
// warnings if there are no errors. Empty if the log is missing or cannot be parsed.
std::string reason_in_log(const std::string& json);
// The reason from the last lines of standard error.
std::string reason_in_lines(const std::string& errors);

// The strings of a list that lvmconfig prints: `KEY=["A","B"]`, `KEY="A"` or `KEY=[]`.
std::vector<std::string> parse_setting(std::string_view text);
// Whether a volume is in a list such as activation/volume_list: "vg", "vg/lv", "@TAG" of the
// volume or its group, "@*" for any tag that this host has (lvm.conf(5)).
bool is_in_volume_list(const std::vector<std::string>& list, const LogicalVolume& volume,
                       const std::vector<std::string>& host_tags);
bool has_any_tag(const LogicalVolume& volume, const std::vector<std::string>& host_tags);

}  // namespace extmerge
