// SPDX-License-Identifier: GPL-3.0-or-later
//
// Runs programs of every Debian in the same way as LVM, and checks their input and output.

#include "io/run_command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <stop_token>
#include <thread>

#include "io/file_descriptor.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

CommandResult shell(const std::string& script) { return run_command({"/bin/sh", "-c", script}); }

// Sets an environment variable and restores it afterwards.
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
  // More bytes than a pipe holds, first on one pipe and then on the other, while signals arrive.
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

// The result of `deed` in a process of its own, so that its changes do not affect the test.
int in_another_process(const std::function<int()>& deed) {
  const pid_t child = ::fork();
  if (child == 0) {
    int result = 99;
    try {
      result = deed();
    } catch (const std::exception&) {
      result = 98;
    }
    ::_exit(result);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

void ignore_children(int flags) {
  struct sigaction action = {};
  action.sa_handler = flags == 0 ? SIG_IGN : SIG_DFL;
  action.sa_flags = flags;
  sigaction(SIGCHLD, &action, nullptr);
}

TEST(RunCommand, AFailureIsOneAlsoWhereTheCallerIgnoresItsChildren) {
  for (const int flags : {0, SA_NOCLDWAIT}) {
    EXPECT_EQ(in_another_process([flags] {
                ignore_children(flags);
                return shell("exit 5").exit_status;
              }),
              5)
        << flags;
  }
}

TEST(RunCommand, AFailureIsOneAlsoWhereTheSignalOfAChildIsBlocked) {
  EXPECT_EQ(in_another_process([] {
              sigset_t set;
              sigemptyset(&set);
              sigaddset(&set, SIGCHLD);
              sigprocmask(SIG_BLOCK, &set, nullptr);
              return shell("exit 5").exit_status;
            }),
            5);
}

TEST(RunCommand, AnExitStatusThatSomebodyElseHasTakenIsNoSuccess) {
  // A thread of a library might do this.
  EXPECT_EQ(in_another_process([] {
              struct sigaction reap = {};
              reap.sa_handler = [](int) { ::waitpid(-1, nullptr, 0); };
              sigaction(SIGCHLD, &reap, nullptr);
              // The order of the two is random.
              for (int i = 0; i < 200; ++i) {
                int status = 5;
                const auto id = thrown_by([&] { status = shell("exit 5").exit_status; });
                if (id == MessageId::kCommandFailed) return 5;
                if (id != kNothingThrown || status != 5) return 1;
              }
              return 0;
            }),
            5);
}

TEST(RunCommand, AProgramThatWasStoppedAndContinuedIsWaitedFor) {
  EXPECT_EQ(shell("(kill -STOP $$; kill -CONT $$) & wait; exit 5").exit_status, 5);
}

TEST(RunCommand, ClosedStandardDescriptorsDoNotMixItsOutputUp) {
  // Close each subset of the standard descriptors: a pipe would then get such a number.
  for (int closed = 1; closed < 8; ++closed) {
    EXPECT_EQ(in_another_process([closed] {
                for (const int fd : {0, 1, 2}) {
                  if ((closed & 1 << fd) != 0) ::close(fd);
                }
                const CommandResult result = shell("cat; echo out; echo err >&2; exit 5");
                const bool right = result.output == "out\n" && result.errors == "err";
                return right ? result.exit_status : 0;
              }),
              5)
        << closed;
  }
}

TEST(RunCommand, WithoutAProcessToBeHadItSaysSo) {
  EXPECT_EQ(in_another_process([] {
              const rlimit none = {0, 0};
              ::setrlimit(RLIMIT_NPROC, &none);
              // The superuser has no such limit.
              if (::geteuid() == 0 && ::setuid(65534) != 0) return 0;
              try {
                shell("exit 0");
              } catch (const Error& error) {
                const bool of_limit = error.next().find("ulimit -u") != std::string::npos;
                return error.id() == MessageId::kCommandFailed && of_limit ? 5 : 1;
              }
              return 2;
            }),
            5);
}

TEST(RunCommand, WithoutDescriptorsItSaysSo) {
  EXPECT_EQ(in_another_process([] {
              // A sanitizer needs a descriptor to inspect an object of a new type.
              errno_text(EMFILE);
              rlimit before{};
              ::getrlimit(RLIMIT_NOFILE, &before);
              const rlimit few = {3, before.rlim_max};
              ::setrlimit(RLIMIT_NOFILE, &few);
              const MessageId id = thrown_by([&] {
                try {
                  shell("exit 0");
                } catch (...) {
                  ::setrlimit(RLIMIT_NOFILE, &before);
                  throw;
                }
              });
              return id == MessageId::kTooManyFiles ? 5 : 0;
            }),
            5);
}

TEST(AwaitedLock, IsTheOneTheProcessIsListedUnderAndItsHolderTheOneAbove) {
  const std::string locks =
      "1: FLOCK  ADVISORY  WRITE 100 fe:00:1095 0 EOF\n"
      "1: -> FLOCK  ADVISORY  WRITE 101 fe:00:1095 0 EOF\n"
      "1: -> FLOCK  ADVISORY  READ 102 fe:00:1095 0 EOF\n"
      "2: POSIX  ADVISORY  WRITE 200 fe:00:7 0 EOF\n"
      "2:  -> POSIX  ADVISORY  WRITE 201 fe:00:7 0 EOF\n"
      "3: FLOCK  ADVISORY  READ 300 fe:00:8 0 EOF\n";
  EXPECT_EQ(holder_of_awaited_lock(locks, 101), 100);
  EXPECT_EQ(holder_of_awaited_lock(locks, 102), 100);
  EXPECT_EQ(holder_of_awaited_lock(locks, 201), 200);
  for (const pid_t waits_for_none : {100, 200, 300, 10, 1}) {
    EXPECT_EQ(holder_of_awaited_lock(locks, waits_for_none), std::nullopt) << waits_for_none;
  }
  for (const char* text : {"", "\n", "1:\n", "1: ->\n", "garbage", "1: -> FLOCK x y z\n"}) {
    EXPECT_EQ(holder_of_awaited_lock(text, 101), std::nullopt) << text;
  }
}

// A file that this process has locked, and programs that wait for the lock.
class LockedFile : public testing::Test {
 protected:
  LockedFile() : file_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    EXPECT_EQ(::flock(file_.get(), LOCK_EX), 0);
  }
  CommandResult take_it(const CommandWatch& watch) const {
    return run_command({"/usr/bin/flock", path_, "/bin/sh", "-c", "exit 6"}, watch);
  }
  void unlock() { ::flock(file_.get(), LOCK_UN); }

 private:
  const ScratchDirectory scratch_;
  const std::string path_ = scratch_ / "locked";
  FileDescriptor file_;
};

TEST_F(LockedFile, IsWaitedForAndThatIsSaidOnceWithItsHolder) {
  std::vector<pid_t> holders;
  const CommandResult result = take_it({{}, [&](pid_t holder) {
                                          holders.push_back(holder);
                                          unlock();
                                        }});
  EXPECT_EQ(holders, std::vector<pid_t>{::getpid()});
  EXPECT_EQ(result.exit_status, 6);
  EXPECT_FALSE(result.was_stopped);
}

TEST_F(LockedFile, IsWaitedForUntilAStopIsAskedFor) {
  std::stop_source stop;
  const CommandResult result =
      take_it({stop.get_token(), [&](pid_t /*holder*/) { stop.request_stop(); }});
  EXPECT_TRUE(result.was_stopped);
  EXPECT_EQ(result.exit_status, 128 + SIGINT);
}

TEST_F(LockedFile, IsWaitedForWhereTheStopIsFromBefore) {
  std::stop_source stop;
  stop.request_stop();
  const CommandResult result = take_it({stop.get_token(), [&](pid_t /*holder*/) { unlock(); }});
  EXPECT_EQ(result.exit_status, 6) << "what is put back after a stop is not given up";
  EXPECT_FALSE(result.was_stopped);
}

TEST(RunCommand, AProgramThatWaitsForNoLockIsNotStopped) {
  const ScratchDirectory scratch;
  std::stop_source stop;
  std::thread stopper;
  const CommandWatch watch = {stop.get_token(), [](pid_t /*holder*/) { ADD_FAILURE(); }};
  const std::string fifo = scratch / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  stopper = std::thread([&] {
    std::ofstream begun(fifo);  // opened when the program has opened its end
    stop.request_stop();
    // Long enough for several calls of look().
    const timespec pause = {0, 300000000};
    ::nanosleep(&pause, nullptr);
  });
  const CommandResult result =
      run_command({"/bin/sh", "-c", "cat < '" + fifo + "'; exit 7"}, watch);
  stopper.join();
  EXPECT_EQ(result.exit_status, 7);
  EXPECT_FALSE(result.was_stopped);
}

}  // namespace
}  // namespace extmerge
