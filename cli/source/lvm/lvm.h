// SPDX-License-Identifier: GPL-3.0-or-later
//
// Runs LVM as a program: an argument vector, an absolute path, LC_ALL=C, no shell. Never call it
// with transfers in flight (io/run_command.h).
//
// LVM's output must not depend on lvm.conf, so each call overrides the output settings by the same
// --config. The owner's settings for locking, scanning and activation stay. The command log, a part
// of the JSON on standard output, tells why a command failed. Standard error may be full of other
// lines (log/verbose), written before LVM reads --config. Only exit status and fields tell whether
// a command failed, never words.

#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/source/lvm/report.h"
#include "io/run_command.h"

namespace extmerge {

class Lvm {
 public:
  // A stop while LVM waits for a lock ends the wait with Error(kStopped). Throws
  // Error(kCommandFailed) if LVM is not installed.
  explicit Lvm(std::stop_token stop);

  // Every volume of the group, including hidden ones. Throws kGroupAbsent if there is no such
  // group, kUnfitGroup, kPermission, kLvmRefused. Unless `locked`, another command may be changing
  // the group.
  std::vector<LogicalVolume> volumes(const std::string& vg, bool locked = true) const;
  // The current name of the group that has the volume with that uuid; empty if there is none. No
  // group is locked, so a sick or busy group does not disturb others.
  std::string group_of(const std::string& lv_uuid) const;
  // Throws kActivationForbidden if a setting of lvm.conf forbids activating the volume here.
  void check_activation(const LogicalVolume& volume) const;
  // Whether a setting of lvm.conf lists the volumes that may be activated here.
  bool names_volumes() const { return settings().volume_list.has_value(); }
  // The setting that forbids activating one of these read-write, as a line of lvm.conf. Empty if
  // none does.
  std::string writing_hindrance(const std::vector<LogicalVolume>& volumes) const;

  // kUntold: LVM makes and removes the names of nodes itself. udev still makes and removes its
  // links by UUID and label.
  enum class Udev { kTold, kUntold };
  // Runs `lvm WORDS`. Throws kLvmRefused with LVM's reason and `next`.
  void run(const std::vector<std::string>& words, const std::string& next,
           Udev udev = Udev::kTold) const;

 private:
  // Lines of lvm.conf, `KEY=VALUE`; nothing for a setting that is not set.
  struct Settings {
    std::optional<std::string> volume_list, read_only_volume_list;
  };
  // LVM is asked once.
  const Settings& settings() const;
  std::vector<std::string> host_tags() const;
  // The setting that forbids activating the volume; empty if none does.
  std::string activation_hindrance(const LogicalVolume& volume) const;
  CommandResult call(const std::vector<std::string>& words,
                     const std::vector<std::string>& environment = {}) const;
  [[noreturn]] void fail_to_list(const std::string& vg, const CommandResult& result) const;

  std::string program_;
  std::stop_token stop_;
  mutable std::optional<Settings> settings_;
};

// Throws kUnfitGroup if nothing can be merged in the group, kGroupAbsent if disks are missing.
void check_group(const VolumeGroup& group, bool is_partial);

}  // namespace extmerge
