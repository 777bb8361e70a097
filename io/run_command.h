// SPDX-License-Identifier: GPL-3.0-or-later
//
// Runs another program and waits for it: LVM's, in practice. No shell; the
// arguments are passed as they are. The program gets a clean environment, so that
// what it prints does not depend on whoever called us.
//
// It is in a process group of its own: an interrupt from the keyboard is for us,
// and a command half-way through changing a volume group is left to finish.

#pragma once

#include <string>
#include <vector>

namespace extmerge {

struct CommandResult {
  int exit_status = 0;  // 128 + the signal, if one ended it
  std::string output;   // standard output, whole
  std::string errors;   // standard error, whole, without newlines at the end
};

// `arguments[0]` is the absolute path of the program. Standard input is empty.
// Of the environment only what concerns LVM and device-mapper is passed on
// (LVM_SYSTEM_DIR, DM_DISABLE_UDEV, DM_DEV_DIR), beside LC_ALL=C and a plain PATH.
// `environment` is added to that ("NAME=value").
// Throws Error(kCommandFailed) if it cannot be started. Do not call it with direct
// reads into our memory in flight: the child may get hold of the pages.
CommandResult run_command(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& environment = {});

}  // namespace extmerge
