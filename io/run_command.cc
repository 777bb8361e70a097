// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/run_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "io/error.h"
#include "io/file_descriptor.h"

namespace extmerge {

namespace {

constexpr const char* kPassedOn[] = {"LVM_SYSTEM_DIR", "DM_DISABLE_UDEV", "DM_DEV_DIR"};

Error cannot_run(const std::string& program, int error_number) {
  std::string next = "install the package it belongs to (lvm2)";
  if (error_number == EAGAIN) next = "raise the limit on processes (ulimit -u), or end some";
  if (error_number == ENOMEM) next = "free some memory";
  return Error(MessageId::kCommandFailed, "cannot run " + program + ": " + errno_text(error_number),
               next);
}

// Standard descriptors may be closed. A pipe with such a number would be overwritten by the child's
// own streams.
FileDescriptor above_standard(int fd) {
  FileDescriptor end(fd);
  if (fd > STDERR_FILENO) return end;
  return FileDescriptor(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

struct Pipe {
  FileDescriptor read_end, write_end;

  explicit Pipe(const std::string& program) {
    int ends[2];
    const bool made = ::pipe2(ends, O_CLOEXEC) == 0;
    if (made) {
      read_end = above_standard(ends[0]);
      write_end = above_standard(ends[1]);
    }
    if (!made || !read_end || !write_end)
      throw system_error("make a pipe for", program, errno, MessageId::kCommandFailed);
  }
};

class SpawnSettings {
 public:
  SpawnSettings(const Pipe& output, const Pipe& errors) {
    posix_spawn_file_actions_init(&files_);
    posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files_, output.write_end.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files_, errors.write_end.get(), STDERR_FILENO);
    posix_spawnattr_init(&attributes_);
    // The child gets default signals, whatever extmerge blocks or ignores.
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGXFSZ);  // ignored: at a file size limit LVM gets an error and reports it
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  const posix_spawn_file_actions_t* files() const { return &files_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
};

std::vector<std::string> clean_environment() {
  std::vector<std::string> environment = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                          "LVM_SUPPRESS_FD_WARNINGS=1"};
  for (const char* name : kPassedOn) {
    if (const char* value = std::getenv(name)) {
      environment.push_back(std::string(name) + "=" + value);
    }
  }
  return environment;
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

using Clock = std::chrono::steady_clock;

// look() is called from time to time while the child runs.
class Watcher {
 public:
  Watcher(const CommandWatch& watch, pid_t child)
      : watch_(watch), child_(child), heeds_stop_(!watch.stop.stop_requested()) {}

  // The timeout of poll() in milliseconds.
  int interval() const {
    return watch_.waits || watch_.stop.stop_possible() ? static_cast<int>(kInterval.count()) : -1;
  }

  void look() {
    const bool stops = heeds_stop_ && watch_.stop.stop_requested();
    const bool is_long = watch_.waits && !has_said_ && Clock::now() - begin_ >= kPatience;
    if (!stops && !is_long) return;
    std::ifstream file("/proc/locks");
    std::ostringstream locks;
    locks << file.rdbuf();
    const auto holder = holder_of_awaited_lock(locks.str(), child_);
    if (!holder) return;
    if (is_long) {
      has_said_ = true;
      watch_.waits(*holder);
    }
    // Send SIGINT at each look, until the child no longer waits.
    if (stops && ::kill(child_, SIGINT) == 0) was_stopped_ = true;
  }

  bool was_stopped() const { return was_stopped_; }

 private:
  static constexpr std::chrono::milliseconds kInterval{100};
  static constexpr std::chrono::seconds kPatience{1};

  const CommandWatch& watch_;
  const pid_t child_;
  const bool heeds_stop_;
  const Clock::time_point begin_ = Clock::now();
  bool has_said_ = false;
  bool was_stopped_ = false;
};

// Reads both pipes at once: a child blocked on a full pipe never ends.
void read_all(std::array<std::pair<FileDescriptor*, std::string*>, 2> pipes, Watcher& watcher) {
  std::array<char, 4096> memory{};
  while (pipes[0].first->get() >= 0 || pipes[1].first->get() >= 0) {
    std::array<pollfd, 2> waiting{};
    for (size_t i = 0; i < pipes.size(); ++i) waiting[i] = {pipes[i].first->get(), POLLIN, 0};
    const int ready = ::poll(waiting.data(), waiting.size(), watcher.interval());
    watcher.look();
    if (ready <= 0) continue;  // nothing yet, or EINTR
    for (size_t i = 0; i < pipes.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      const ssize_t count = ::read(pipes[i].first->get(), memory.data(), memory.size());
      if (count > 0) pipes[i].second->append(memory.data(), static_cast<size_t>(count));
      if (count == 0 || (count < 0 && errno != EINTR)) *pipes[i].first = FileDescriptor();
    }
  }
}

// Sets SIGCHLD to its default: if the caller left it ignored, the kernel discards exit statuses.
void heed_ended_children() {
  struct sigaction action {};
  if (sigaction(SIGCHLD, nullptr, &action) != 0) return;
  if (action.sa_handler != SIG_IGN && (action.sa_flags & SA_NOCLDWAIT) == 0) return;
  action = {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &action, nullptr);
}

int wait_for(pid_t child, const std::string& program) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno == EINTR) continue;
    // An unknown exit status is not a success.
    throw Error(MessageId::kCommandFailed,
                program + " has ended, and its exit status is unknown: " + errno_text(errno),
                "look at what it was to change, then run the same command again");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::optional<pid_t> holder_of_awaited_lock(const std::string& locks, pid_t waiting) {
  std::map<std::string, pid_t> holders;  // by the lock's number
  std::istringstream lines(locks);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string lock, kind, advisory, access;
    pid_t pid = 0;
    fields >> lock >> kind;
    const bool waits = kind == "->";
    if (waits) fields >> kind;
    fields >> advisory >> access >> pid;
    if (!waits) holders[lock] = pid;
    if (waits && pid == waiting) return holders[lock];
  }
  return {};
}

CommandResult run_command(const std::vector<std::string>& arguments, const CommandWatch& watch,
                          const std::vector<std::string>& added) {
  const std::string& program = arguments.at(0);
  heed_ended_children();
  Pipe output(program), errors(program);
  std::vector<std::string> words = arguments, environment = clean_environment();
  environment.insert(environment.end(), added.begin(), added.end());
  const SpawnSettings settings(output, errors);
  pid_t child = 0;
  const int failure =
      ::posix_spawn(&child, program.c_str(), settings.files(), settings.attributes(),
                    pointers_to(words).data(), pointers_to(environment).data());
  if (failure != 0) throw cannot_run(program, failure);
  output.write_end = FileDescriptor();
  errors.write_end = FileDescriptor();

  CommandResult result;
  Watcher watcher(watch, child);
  read_all({{{&output.read_end, &result.output}, {&errors.read_end, &result.errors}}}, watcher);
  result.exit_status = wait_for(child, program);
  result.was_stopped = watcher.was_stopped();
  while (result.errors.ends_with('\n')) result.errors.pop_back();
  return result;
}

}  // namespace extmerge
