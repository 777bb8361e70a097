// SPDX-License-Identifier: GPL-3.0-or-later
//
// extmerge merges a dm-thin snapshot back into its external origin; merge/merge.cc has the steps.
// Only this file turns a failure into a message and an exit status.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <exception>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/configuration.h"
#include "cli/log.h"
#include "cli/options.h"
#include "cli/path_roles.h"
#include "cli/show/json.h"
#include "cli/show/output.h"
#include "cli/show/service_manager.h"
#include "cli/signals.h"
#include "io/threads.h"

namespace extmerge {

namespace {

// The next open file would take the number of a closed standard descriptor. Then messages would
// land in a journal or its lock. So /dev/null takes that number. It is opened in the wrong
// direction, so that reads and writes fail as before.
bool fill_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // open() returns the lowest free number, which is `fd`.
    if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) return false;
  }
  return true;
}

// Inherited limits do not end a run: a write past RLIMIT_FSIZE fails like one on a full disk. The
// umask keeps the owner's rights, so that extmerge can read the files it creates.
void heed_limits() {
  struct sigaction ignored {};
  ignored.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &ignored, nullptr);
  umask(umask(0777) & 0077);
}

// Parses and runs. Sets `json` if a failure is reported as JSON.
std::vector<Error> run(const std::vector<std::string>& arguments, bool& json, Signals& signals,
                       const std::shared_ptr<TerminalLine>& terminal) {
  json = asks_for_json(arguments);
  Options options = parse_command_line(arguments, [](Options& o) { apply_configuration(o); });
  options.stop = signals.stop_token();
  if (options.text) {
    json = false;
    print(*options.text);
    flush_output();
    return {};
  }
  json = options.json;
  check_paths(options);
  configure_log(options, terminal);
  std::vector<Error> failures = execute(options, signals, *terminal);
  // A service is ready even if it had nothing to do.
  if (failures.empty()) notify_service_manager("READY=1");
  return failures;
}

Error internal_error(const std::exception& error) {
  return Error(MessageId::kInternal, std::string("internal error: ") + error.what(),
               "this is a bug in extmerge; please report it with the command line");
}

// The failure behind the exception in flight.
Error current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(MessageId::kNoMemory, "out of memory",
                 "lower --buffer-size and --threads, or free some memory");
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again)
      return no_threads(error.code().value());
    const Error known = system_error("continue", "", error.code().value(), MessageId::kInternal);
    if (known.id() == MessageId::kInternal) return internal_error(error);
    return Error(known.id(), error.what(), known.next());
  } catch (const std::exception& error) {
    return internal_error(error);
  }
}

void print_failure_as_json(const Error& failure) {
  try {
    print(error_json(failure));
    flush_output();
  } catch (const Error& error) {
    // Lost output is already known: do not add a second message.
    if (failure.id() != MessageId::kOutputFailed) log_error(error);
  }
}

int main_of(const std::vector<std::string>& arguments) {
  const auto terminal = std::make_shared<TerminalLine>(STDERR_FILENO);
  start_log(terminal);
  Signals signals;
  bool json = false;
  std::vector<Error> failures;
  try {
    failures = run(arguments, json, signals, terminal);
  } catch (...) {
    failures = {current_failure()};
    if (json) print_failure_as_json(failures.front());
  }
  for (const Error& failure : failures) log_error(failure);
  if (failures.empty()) return 0;
  if (failures.front().id() == MessageId::kStopped && signals.received() != 0)
    die_by(signals.received());
  return failures.front().exit_status();
}

}  // namespace

}  // namespace extmerge

int main(int argc, char** argv) {
  if (!extmerge::fill_standard_descriptors())
    return static_cast<int>(extmerge::MessageId::kOutputFailed) / 100;
  extmerge::heed_limits();
  return extmerge::main_of(std::vector<std::string>(argv + 1, argv + argc));
}
