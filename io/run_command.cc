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
#include <cstdlib>

#include "io/error.h"
#include "io/file_descriptor.h"

namespace extmerge {

namespace {

constexpr const char* kPassedOn[] = {"LVM_SYSTEM_DIR", "DM_DISABLE_UDEV", "DM_DEV_DIR"};

Error cannot_run(const std::string& program, int error_number) {
  return Error(MessageId::kCommandFailed, "cannot run " + program + ": " + errno_text(error_number),
               "install the package it belongs to (lvm2), or free some memory");
}

struct Pipe {
  FileDescriptor read_end, write_end;

  explicit Pipe(const std::string& program) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw cannot_run(program, errno);
    read_end = FileDescriptor(ends[0]);
    write_end = FileDescriptor(ends[1]);
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
    // What we block or ignore is no concern of the child's.
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
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

// Both at once: a child that waits for one pipe to be emptied never ends.
void read_all(std::array<std::pair<FileDescriptor*, std::string*>, 2> pipes) {
  std::array<char, 4096> memory{};
  while (pipes[0].first->get() >= 0 || pipes[1].first->get() >= 0) {
    std::array<pollfd, 2> waiting{};
    for (size_t i = 0; i < pipes.size(); ++i) waiting[i] = {pipes[i].first->get(), POLLIN, 0};
    if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;  // EINTR
    for (size_t i = 0; i < pipes.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      const ssize_t count = ::read(pipes[i].first->get(), memory.data(), memory.size());
      if (count > 0) pipes[i].second->append(memory.data(), static_cast<size_t>(count));
      if (count == 0 || (count < 0 && errno != EINTR)) *pipes[i].first = FileDescriptor();
    }
  }
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

CommandResult run_command(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& added) {
  const std::string& program = arguments.at(0);
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
  read_all({{{&output.read_end, &result.output}, {&errors.read_end, &result.errors}}});
  result.exit_status = wait_for(child);
  while (result.errors.ends_with('\n')) result.errors.pop_back();
  return result;
}

}  // namespace extmerge
