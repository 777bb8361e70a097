// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/lvm.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "cli/source/dm/device_mapper.h"
#include "io/error.h"
#include "io/mount_table.h"
#include "io/text.h"

namespace extmerge {

namespace {

// The defaults of all settings that change a report's form. Other settings stay as in lvm.conf.
constexpr const char* kReports =
    "report { output_format=\"json\" compact_output=0 compact_output_cols=\"\" buffered=1 "
    "headings=1 prefixes=0 quoted=1 columns_as_rows=0 list_item_separator=\",\" "
    "binary_values_as_numeric=0 mark_hidden_devices=1 two_word_unknown_device=0 "
    "vgs_sort=\"vg_name\" lvs_sort=\"vg_name,lv_name\" "
    "segs_sort=\"vg_name,lv_name,seg_start\" } ";
constexpr const char* kLogAsJson =
    "log { verbose=0 silent=0 prefix=\"\" command_names=0 indent=0 report_command_log=1 "
    "command_log_cols=\"log_seq_num,log_type,log_message\" command_log_sort=\"log_seq_num\" "
    "command_log_selection=\"all\" }";
constexpr const char* kLogAsLines =
    "log { verbose=0 silent=0 prefix=\"\" command_names=0 indent=0 report_command_log=0 }";

// LVM 2.03.16 crashes with a command log if -S selects the volumes to change. lvmconfig and tags do
// not print JSON.
bool takes_command_log(const std::vector<std::string>& words) {
  if (words[0] == "lvs" || words[0] == "vgs") return true;
  if (words[0] == "lvmconfig" || words[0] == "tags") return false;
  return std::ranges::find(words, "-S") == words.end();
}

// Whether LVM has printed a report.
bool has_report(const CommandResult& result) {
  return result.output.find("\"report\"") != std::string::npos;
}

std::string reason_of(const CommandResult& result) {
  std::string reason = reason_in_log(result.output);
  if (reason.empty()) reason = reason_in_lines(result.errors);
  if (result.exit_status > 128) {
    const std::string ended = "it was ended by signal " + std::to_string(result.exit_status - 128);
    return reason.empty() ? ended : reason + "; " + ended;
  }
  return reason.empty() ? "it did not say why" : reason;
}

void say_that_it_waits(const std::string& command, pid_t holder) {
  std::ifstream file("/proc/" + std::to_string(holder) + "/comm");
  std::string name;
  std::getline(file, name);
  // The process that took the lock may have ended: its child still has the file open.
  const std::string whose =
      name.empty() ? "another command" : "process " + std::to_string(holder) + " (" + name + ")";
  spdlog::info("waiting for LVM ({}): {} holds the lock", command, printable(whose));
}

// Without permission LVM fails in many different ways.
void check_root(const std::string& happened) {
  if (::geteuid() == 0) return;
  throw Error(MessageId::kPermission, happened, "run extmerge as root");
}

std::vector<std::string> lvs_words(const std::vector<std::string>& more) {
  std::vector<std::string> words = {"lvs",        "-a", "--reportformat", "json", "--units", "b",
                                    "--nosuffix", "-o", lvs_fields()};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

Lvm::Lvm(std::stop_token stop) : stop_(std::move(stop)) {
  // Without these facts LVM finds nothing and does not say why.
  check_facts_are_told();
  all_dm_devices();
  for (const char* candidate : {"/usr/sbin/lvm", "/sbin/lvm"}) {
    if (::access(candidate, X_OK) != 0) continue;
    program_ = candidate;
    return;
  }
  throw Error(MessageId::kCommandFailed, "there is no /usr/sbin/lvm",
              "install lvm2, or name the devices: --metadata, --data, --thin-id and --origin");
}

CommandResult Lvm::call(const std::vector<std::string>& words,
                        const std::vector<std::string>& environment) const {
  std::vector<std::string> arguments = {
      program_, words[0], "--config",
      std::string(kReports) + (takes_command_log(words) ? kLogAsJson : kLogAsLines)};
  arguments.insert(arguments.end(), words.begin() + 1, words.end());
  CommandResult result = run_command(
      arguments, {stop_, [&](pid_t holder) { say_that_it_waits(words[0], holder); }}, environment);
  spdlog::debug("{}: {}", printable("lvm " + joined(words, " ")), result.exit_status);
  if (result.exit_status == 0) {
    const std::string remarks = reason_in_log(result.output) + reason_in_lines(result.errors);
    if (!remarks.empty()) spdlog::debug("LVM remarks: {}", printable(remarks));
    return result;
  }
  if (result.was_stopped) {
    throw Error(MessageId::kStopped,
                "stopped as requested while LVM waited for a lock of another command",
                "run the same command again");
  }
  return result;
}

void Lvm::fail_to_list(const std::string& vg, const CommandResult& result) const {
  const std::string happened = "LVM cannot list the volumes of " + vg + ": " + reason_of(result);
  check_root(happened);
  const CommandResult listed = call({"vgs", "--nolocking", "--foreign", "--shared",
                                     "--reportformat", "json", "-o", vgs_fields()});
  // LVM fails if any group is sick, but still lists the others.
  const bool is_whole = listed.exit_status == 0;
  std::vector<VolumeGroup> all;
  if (is_whole || has_report(listed)) all = parse_vgs(listed.output);
  if (!is_whole && all.empty()) {
    throw Error(MessageId::kLvmRefused, "LVM cannot list all volume groups: " + reason_of(listed),
                "see vgs");
  }
  const auto group = std::ranges::find(all, vg, &VolumeGroup::name);
  if (group == all.end()) {
    const std::string reason = is_whole ? "" : " (" + happened + ")";
    throw Error(MessageId::kGroupAbsent, "there is no volume group called " + vg + reason,
                "attach the disks of the group, or check the name (vgs); the name of a volume is "
                "VG/LV, a path begins with / or ./");
  }
  check_group(*group, false);
  throw Error(MessageId::kLvmRefused, happened, "see lvs -a " + vg);
}

std::vector<LogicalVolume> Lvm::volumes(const std::string& vg, bool locked) const {
  const CommandResult result = call(locked ? lvs_words({vg}) : lvs_words({"--nolocking", vg}));
  if (result.exit_status != 0) fail_to_list(vg, result);
  return parse_lvs(result.output);
}

std::string Lvm::group_of(const std::string& lv_uuid) const {
  const CommandResult result = call(lvs_words({"--nolocking", "-S", "lv_uuid=" + lv_uuid}));
  if (has_report(result)) {  // see fail_to_list()
    for (const LogicalVolume& volume : parse_lvs(result.output)) {
      if (volume.uuid == lv_uuid) return volume.vg;
    }
  }
  if (result.exit_status == 0) return {};
  check_root("LVM cannot list all volumes: " + reason_of(result));
  throw Error(MessageId::kLvmRefused, "LVM cannot list all volumes: " + reason_of(result),
              "see lvs -a");
}

const Lvm::Settings& Lvm::settings() const {
  if (settings_) return *settings_;
  // lvmconfig prints each setting that is set, and fails if one is not. A setting that is always
  // set shows that LVM has read lvm.conf.
  const CommandResult result = call({"lvmconfig", "--mergedconfig", "activation/volume_list",
                                     "activation/read_only_volume_list", "log/report_command_log"});
  Settings found;
  bool is_whole = false;
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) {
    is_whole |= line.starts_with("report_command_log=");
    if (line.starts_with("volume_list=")) found.volume_list = "activation/" + line;
    if (line.starts_with("read_only_volume_list=")) {
      found.read_only_volume_list = "activation/" + line;
    }
  }
  if (!is_whole) throw cannot_look("lvm.conf", reason_of(result), "see what lvmconfig says");
  settings_ = found;
  return *settings_;
}

std::vector<std::string> Lvm::host_tags() const {
  std::vector<std::string> tags;
  const CommandResult result = call({"tags"});
  if (result.exit_status != 0) {
    throw cannot_look("the tags of this host", reason_of(result), "see what lvm tags says");
  }
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) tags.push_back(line);
  return tags;
}

std::string Lvm::activation_hindrance(const LogicalVolume& volume) const {
  const auto& list = settings().volume_list;
  const std::vector<std::string> tags = host_tags();
  if (list) return is_in_volume_list(parse_setting(*list), volume, tags) ? "" : *list;
  // Without the list, a host with tags activates only volumes that have one of its tags.
  if (tags.empty() || has_any_tag(volume, tags)) return {};
  return "tags (this host has the tag " + tags.front() +
         ", and the volume has no tag of this host)";
}

void Lvm::check_activation(const LogicalVolume& volume) const {
  const std::string setting = activation_hindrance(volume);
  if (setting.empty()) return;
  const std::string name = volume.full_name();
  throw Error(MessageId::kActivationForbidden,
              name + " may not be activated on this host: lvm.conf has " + setting,
              "add \"" + name +
                  "\" to activation/volume_list, or run extmerge where the volume may be active");
}

std::string Lvm::writing_hindrance(const std::vector<LogicalVolume>& volumes) const {
  const auto& list = settings().read_only_volume_list;
  if (!list) return {};
  const std::vector<std::string> tags = host_tags();
  const bool is_listed = std::any_of(volumes.begin(), volumes.end(), [&](const auto& volume) {
    return is_in_volume_list(parse_setting(*list), volume, tags);
  });
  return is_listed ? *list : "";
}

void Lvm::run(const std::vector<std::string>& words, const std::string& next, Udev udev) const {
  std::vector<std::string> environment;
  if (udev == Udev::kUntold) environment.push_back("DM_DISABLE_UDEV=1");
  const CommandResult result = call(words, environment);
  if (result.exit_status == 0) return;
  const std::string happened = "lvm " + joined(words, " ") + " failed: " + reason_of(result);
  check_root(happened);
  throw Error(MessageId::kLvmRefused, happened, next);
}

void check_group(const VolumeGroup& group, bool is_partial) {
  const auto refuse = [&](const std::string& why, const std::string& next) {
    throw Error(MessageId::kUnfitGroup, "the volume group " + group.name + " is " + why, next);
  };
  if (group.shared) {
    refuse("shared between machines", "LVM has no external origins there; nothing overrides this");
  }
  if (group.exported) refuse("exported", "import it first (vgimport " + group.name + ")");
  if (!is_partial) return;
  throw Error(MessageId::kGroupAbsent,
              "the volume group " + group.name + " is partial: physical volumes are missing",
              "attach them (vgs -o +vg_missing_pv_count) and run the same command again");
}

}  // namespace extmerge
