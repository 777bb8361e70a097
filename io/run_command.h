// SPDX-License-Identifier: GPL-3.0-or-later
//
// Runs another program and waits for it: LVM's, in practice. No shell; the
// arguments are passed as they are. The program gets a clean environment, so that
// what it prints does not depend on whoever called us.
//
// It is in a process group of its own: an interrupt from the keyboard is for us,
// and a command half-way through changing a volume group is left to finish.

#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace extmerge {

struct CommandResult {
  int exit_status = 0;  // 128 + the signal, if one ended it
  std::string output;   // standard output, whole
  std::string errors;   // standard error, whole, without newlines at the end
  // A stop was asked for while the program waited for a file's lock, and it was sent SIGINT.
  bool was_stopped = false;
};

// What happens while the program waits for the lock of a file, as LVM does while another
// command has the volume group. A program that waits in flock() has changed nothing yet.
struct CommandWatch {
  // A stop that is asked for during the wait ends the program; one from before does not.
  std::stop_token stop{};
  // Called once, after a second of waiting, with the process that holds the lock (0 if unknown).
  std::function<void(pid_t holder)> waits{};
};

// `arguments[0]` is the absolute path of the program. Standard input is empty.
// Of the environment only what concerns LVM and device-mapper is passed on
// (LVM_SYSTEM_DIR, DM_DISABLE_UDEV, DM_DEV_DIR), beside LC_ALL=C and a plain PATH.
// `environment` is added to that ("NAME=value").
// Throws Error(kCommandFailed) if it cannot be started, or its exit status is unknown. A process
// that ignores SIGCHLD gets no exit status, so that signal's default is set. Do not call it with
// direct reads into our memory in flight: the child may get hold of the pages.
CommandResult run_command(const std::vector<std::string>& arguments, const CommandWatch& watch = {},
                          const std::vector<std::string>& environment = {});

// From the text of /proc/locks: whether that process waits for a lock, and who holds it (0 if
// that is not told). Nothing if it does not wait.
std::optional<pid_t> holder_of_awaited_lock(const std::string& locks, pid_t waiting);

}  // namespace extmerge
