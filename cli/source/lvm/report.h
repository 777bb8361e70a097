// SPDX-License-Identifier: GPL-3.0-or-later
//
// What LVM says, taken apart. Of a volume group, two sources: `lvs` in JSON for
// everything but one relation, which it does not show: an internal snapshot of a
// thin lists its parent as its origin (and nothing once that is removed), although
// it reads the same external origin. That relation is in the text metadata only.

#pragma once

#include <map>
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
  std::string origin;  // as lvs has it: for an internal snapshot its parent
  std::string pool, data, metadata;
  std::vector<std::string> tags, vg_tags;
  Bytes size;
  Bytes chunk_size;                 // of a pool
  std::optional<uint64_t> thin_id;  // of a thin
  // Of a pool; of a thin, its pool's when it was made.
  std::optional<uint64_t> transaction_id;
  bool vg_shared = false, vg_exported = false, vg_partial = false;
  bool skips_activation = false;

  bool is_thin() const { return segment_type == "thin"; }
  bool is_writable() const { return attr.size() > 1 && attr[1] == 'w'; }
  bool is_active() const { return attr.size() > 4 && attr[4] != '-' && attr[4] != 'X'; }
  bool is_open() const { return attr.size() > 5 && attr[5] == 'o'; }
  bool has_tag(std::string_view tag) const;
  // "vg/name", for messages and for LVM.
  std::string full_name() const { return vg + "/" + name; }
  // "LVM-" and both uuids without their dashes; a layer's ends in "-real" or the like.
  std::string dm_uuid(std::string_view layer = {}) const;
};

// The volume of a device-mapper node that LVM named, "vg--1-snap" or "vg--1-snap-real", as
// "vg-1/snap". Empty if LVM names none like that.
std::string volume_of_node(std::string_view node);
// LVM's own form of a volume's uuid, from that of a node or a layer of it ("LVM-..."); empty if
// it is none.
std::string lv_uuid_of_node(std::string_view dm_uuid);

// The fields to ask lvs for, for -o.
std::string lvs_fields();
// The output of `lvs -a --reportformat json --units b --nosuffix -o FIELDS`; numbers may
// come as strings or as numbers. Throws Error(kLvmRefused) for anything else.
std::vector<LogicalVolume> parse_lvs(const std::string& json);
// The same for vgs.
std::string vgs_fields();
std::vector<VolumeGroup> parse_vgs(const std::string& json);

// What went wrong, from the command log in LVM's JSON (log/report_command_log): its errors, or
// its warnings where there is none. Empty if there is no log, or it is not understood.
std::string reason_in_log(const std::string& json);
// The same from standard error: its last lines.
std::string reason_in_lines(const std::string& errors);

// The strings of `KEY=["A","B"]`, as lvmconfig prints a list; `KEY="A"` and `KEY=[]`, too.
std::vector<std::string> parse_setting(std::string_view text);
// Whether a volume is in a list such as activation/volume_list: "vg", "vg/lv", "@TAG" of the
// volume or its group, "@*" for any tag that this host has (lvm.conf(5)).
bool is_in_volume_list(const std::vector<std::string>& list, const LogicalVolume& volume,
                       const std::vector<std::string>& host_tags);
bool has_any_tag(const LogicalVolume& volume, const std::vector<std::string>& host_tags);

// Thin volume -> its external origin, by name, from a group's text metadata
// (vgcfgbackup). Throws Error(kLvmRefused) for text that does not hold together.
std::map<std::string, std::string> parse_external_origins(std::string_view text);

}  // namespace extmerge
