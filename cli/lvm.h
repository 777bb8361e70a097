// SPDX-License-Identifier: GPL-3.0-or-later
//
// LVM as a program that is run: an argument vector, an absolute path, LC_ALL=C,
// no shell. Never with transfers in flight (io/run_command.h).

#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/lvm_report.h"

namespace extmerge {

class Lvm {
 public:
  // Throws Error(kCommandFailed) if LVM is not installed.
  Lvm();

  // Every volume of the group, hidden ones too; of all groups if `vg` is empty.
  // Throws kGroupAbsent if LVM knows no such group now.
  std::vector<LogicalVolume> volumes(const std::string& vg) const;
  // Thin volume -> external origin, by name.
  std::map<std::string, std::string> external_origins(const std::string& vg) const;

  // `lvm WORDS`. Throws kLvmRefused with what LVM said, and `next`.
  void run(const std::vector<std::string>& words, const std::string& next) const;
  // Likewise, past udev: nobody is told of the nodes that come and go.
  void run_unannounced(const std::vector<std::string>& words, const std::string& next) const;

 private:
  void run(const std::vector<std::string>& words, const std::string& next,
           const std::vector<std::string>& environment) const;

  std::string program_;
};

}  // namespace extmerge
