// SPDX-License-Identifier: GPL-3.0-or-later
//
// Programs every Debian has, run as LVM is: what reaches them, and what comes back.

#include "io/run_command.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

#include "tests/io/scratch.h"

namespace extmerge {
namespace {

CommandResult shell(const std::string& script) { return run_command({"/bin/sh", "-c", script}); }

// A variable of ours, as it was again afterwards.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value, 1);
  }
  ~Variable() {
    if (before_)
      ::setenv(name_, before_->c_str(), 1);
    else
      ::unsetenv(name_);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// The line of /proc/self/status that begins with `field`, of a program that is run.
std::string status_of_child(const std::string& field) {
  std::istringstream lines(run_command({"/bin/cat", "/proc/self/status"}).output);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(field + ":")) return line.substr(line.find_first_not_of(" \t", 8));
  }
  return "not found";
}

TEST(RunCommand, ArgumentsArriveAsTheyAre) {
  const std::vector<std::string> words = {
      "a b", "",     "$HOME",     "`id`",          "*",   "'", "\"\\n", "; exit 3", "--", "-x",
      "> f", "a\tb", "line\nend", "\xff not utf8", "|cat"};
  std::vector<std::string> arguments = {"/usr/bin/printf", "<%s>"};
  std::string expected;
  for (const std::string& word : words) {
    arguments.push_back(word);
    expected += "<" + word + ">";
  }
  const CommandResult result = run_command(arguments);
  EXPECT_EQ(result.output, expected);
  EXPECT_EQ(result.errors, "");
  EXPECT_EQ(result.exit_status, 0);
}

TEST(RunCommand, TheEnvironmentIsCleanButForWhatConcernsLvm) {
  const Variable language("LC_ALL", "de_DE.UTF-8"), path("PATH", "/tmp/evil"),
      preload("LD_LIBRARY_PATH", "/tmp/evil"), foreign("EXTMERGE_STATE_DIR", "/tmp/state"),
      suppressed("LVM_REPORT_TIME", "x"), directory("LVM_SYSTEM_DIR", "/run/our lvm"),
      udev("DM_DISABLE_UDEV", "1"), devices("DM_DEV_DIR", "/run/dev");
  std::istringstream lines(run_command({"/usr/bin/env"}).output);
  std::vector<std::string> environment;
  for (std::string line; std::getline(lines, line);) environment.push_back(line);
  std::sort(environment.begin(), environment.end());
  EXPECT_EQ(environment,
            (std::vector<std::string>{"DM_DEV_DIR=/run/dev", "DM_DISABLE_UDEV=1", "LC_ALL=C",
                                      "LVM_SUPPRESS_FD_WARNINGS=1", "LVM_SYSTEM_DIR=/run/our lvm",
                                      "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}));
}

TEST(RunCommand, BothPipesAreEmptiedHoweverMuchComes) {
  // More than a pipe holds, first on one and then on the other, and signals meanwhile.
  struct sigaction handler = {}, before = {};
  handler.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGALRM, &handler, &before), 0);
  const itimerval often = {{0, 2000}, {0, 2000}};
  setitimer(ITIMER_REAL, &often, nullptr);
  const CommandResult result = shell(
      "head -c 300000 /dev/zero | tr '\\0' e >&2; head -c 300000 /dev/zero | tr '\\0' o;"
      "head -c 300000 /dev/zero | tr '\\0' E >&2; exit 5");
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_EQ(result.exit_status, 5);
  EXPECT_TRUE(result.output == std::string(300000, 'o'));
  EXPECT_TRUE(result.errors == std::string(300000, 'e') + std::string(300000, 'E'));
}

TEST(RunCommand, ErrorsLoseTheNewlinesAtTheirEndAndOutputDoesNot) {
  const CommandResult result = shell("echo; echo out; echo; echo one >&2; echo two >&2; echo >&2");
  EXPECT_EQ(result.output, "\nout\n\n");
  EXPECT_EQ(result.errors, "one\ntwo");
}

TEST(RunCommand, TheExitStatusIsTheProgramsOwn) {
  EXPECT_EQ(run_command({"/bin/true"}).exit_status, 0);
  EXPECT_EQ(run_command({"/bin/false"}).exit_status, 1);
  EXPECT_EQ(shell("exit 255").exit_status, 255);
}

TEST(RunCommand, ASignalThatEndsItIs128AndItsNumber) {
  EXPECT_EQ(shell("kill -9 $$").exit_status, 128 + SIGKILL);
  EXPECT_EQ(shell("echo before; kill -TERM $$; echo after").exit_status, 128 + SIGTERM);
}

TEST(RunCommand, AProgramThatIsMissingOrNoneIsAFailure) {
  const ScratchDirectory scratch;
  std::ofstream(scratch / "text") << "no program";
  for (const std::string& program :
       {std::string("/no/such/program"), scratch / "text", scratch.path()}) {
    try {
      run_command({program, "x"});
      FAIL() << program;
    } catch (const Error& error) {
      EXPECT_EQ(error.id(), MessageId::kCommandFailed);
      EXPECT_NE(std::string(error.what()).find(program), std::string::npos) << error.what();
      EXPECT_NE(error.next(), "");
    }
  }
}

TEST(RunCommand, AProgramIsNotLookedForInThePath) {
  const Variable path("PATH", "/usr/bin:/bin");
  EXPECT_EQ(thrown_by([] { run_command({"true"}); }), MessageId::kCommandFailed);
}

TEST(RunCommand, StandardInputIsEmpty) {
  const CommandResult result = run_command({"/bin/cat"});
  EXPECT_EQ(result.output, "");
  EXPECT_EQ(result.exit_status, 0);
}

TEST(RunCommand, ItHasAProcessGroupOfItsOwn) {
  std::istringstream fields(run_command({"/bin/cat", "/proc/self/stat"}).output);
  std::string name, state;
  pid_t pid = 0, parent = 0, group = 0;
  fields >> pid >> name >> state >> parent >> group;
  EXPECT_EQ(parent, ::getpid());
  EXPECT_EQ(group, pid);
  EXPECT_NE(group, ::getpgrp());
}

TEST(RunCommand, SignalsThatWeBlockOrIgnoreAreAsEverForIt) {
  struct sigaction ignored = {}, before = {};
  ignored.sa_handler = SIG_IGN;
  sigset_t blocked, mask;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaction(SIGPIPE, &ignored, &before);
  pthread_sigmask(SIG_BLOCK, &blocked, &mask);
  const std::string child_blocks = status_of_child("SigBlk"), ignores = status_of_child("SigIgn");
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  sigaction(SIGPIPE, &before, nullptr);
  EXPECT_EQ(child_blocks, "0000000000000000");
  // The two highest bits are glibc's own, for threads.
  EXPECT_EQ(std::stoull(ignores, nullptr, 16) & 0x7fffffff, 0u) << ignores;
}

}  // namespace
}  // namespace extmerge
