// SPDX-License-Identifier: GPL-3.0-or-later
//
// Runs another program, such as LVM, and waits for it. No shell is used; arguments are passed
// unchanged. The program gets a clean environment, so that its output does not depend on the
// caller's.
//
// The program has its own process group. So a keyboard interrupt reaches only extmerge, and a
// command that changes a volume group can finish.

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
  // A stop was requested while the program waited for a file's lock, and the program got SIGINT.
  bool was_stopped = false;
};

// Reactions while the program waits for a file's lock, as LVM does while another command uses the
// volume group. A program that waits in flock() has changed nothing yet.
struct CommandWatch {
  // A stop requested during the wait ends the program; an earlier one does not.
  std::stop_token stop{};
  // Called once, after one second, with the process that holds the lock (0 if unknown).
  std::function<void(pid_t holder)> waits{};
};

// `arguments[0]` is the absolute path of the program. Standard input is empty. The environment has
// only LC_ALL=C, a plain PATH, the variables of LVM and device-mapper (LVM_SYSTEM_DIR,
// DM_DISABLE_UDEV, DM_DEV_DIR), and `environment` ("NAME=value"). Throws Error(kCommandFailed) if
// the program cannot be started, or its exit status is unknown. A process that ignores SIGCHLD gets
// no exit status, so that signal's default is set. Do not call it with direct reads in flight: the
// child may get their pages.
CommandResult run_command(const std::vector<std::string>& arguments, const CommandWatch& watch = {},
                          const std::vector<std::string>& environment = {});

// The process that holds the lock for which `waiting` waits, from the text of /proc/locks. 0 if the
// holder is unknown; nothing if `waiting` does not wait.
std::optional<pid_t> holder_of_awaited_lock(const std::string& locks, pid_t waiting);

}  // namespace extmerge
