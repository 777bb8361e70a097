// SPDX-License-Identifier: GPL-3.0-or-later
//
// LVM as a program that is run: an argument vector, an absolute path, LC_ALL=C,
// no shell. Never with transfers in flight (io/run_command.h).
//
// What it prints must not depend on lvm.conf, so each call overrides the settings of
// its output by the same --config, and of no more than that: what is locked, scanned
// or activated is the owner's affair. Why a command failed is told by the command log,
// a part of the JSON on standard output: standard error may be full of other things
// (log/verbose), which are there before --config is read. Whether it failed is told by
// the exit status and by fields, never by words.

#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/source/lvm/report.h"
#include "io/run_command.h"

namespace extmerge {

class Lvm {
 public:
  // A stop that is asked for while LVM waits for a lock ends that wait, with Error(kStopped).
  // Throws Error(kCommandFailed) if LVM is not installed.
  explicit Lvm(std::stop_token stop);

  // Every volume of the group, hidden ones too.
  // Throws kGroupAbsent if there is no such group now, kUnfitGroup, kPermission, kLvmRefused.
  std::vector<LogicalVolume> volumes(const std::string& vg) const;
  // The same without waiting for a lock: another command may be changing the group.
  std::vector<LogicalVolume> volumes_unlocked(const std::string& vg) const;
  // The name of the group that has the volume with that uuid, whatever it was called before.
  // No group is locked, so that one which is sick or busy is nobody else's trouble. Empty if
  // there is none.
  std::string group_of(const std::string& lv_uuid) const;
  // Thin volume -> external origin, by name.
  std::map<std::string, std::string> external_origins(const std::string& vg) const;
  // Which setting keeps the volume from being activated here, or from being activated
  // read-write, as lvm.conf would have it in one line; empty if none does.
  std::string activation_hindrance(const LogicalVolume& volume) const;
  std::string writing_hindrance(const std::vector<LogicalVolume>& volumes) const;

  // `lvm WORDS`. Throws kLvmRefused with what LVM said, and `next`.
  void run(const std::vector<std::string>& words, const std::string& next) const;
  // Likewise, past udev: LVM makes and removes the names of nodes itself. udev's links by UUID and
  // label come and go all the same.
  void run_unannounced(const std::vector<std::string>& words, const std::string& next) const;

 private:
  // `KEY=VALUE`; nothing if it is not set.
  std::optional<std::string> setting(const std::string& key) const;
  std::vector<std::string> host_tags() const;
  CommandResult call(const std::vector<std::string>& words,
                     const std::vector<std::string>& environment = {}) const;
  void run(const std::vector<std::string>& words, const std::string& next,
           const std::vector<std::string>& environment) const;
  [[noreturn]] void fail_to_list(const std::string& vg, const CommandResult& result) const;

  std::string program_;
  std::stop_token stop_;
};

// Throws kUnfitGroup for one in which nothing can be merged, kGroupAbsent for one that misses
// disks.
void check_group(const VolumeGroup& group, bool is_partial);

}  // namespace extmerge
