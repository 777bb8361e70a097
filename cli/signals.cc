// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "io/threads.h"

namespace extmerge {

namespace {

constexpr int kStopping[] = {SIGINT, SIGTERM, SIGHUP};

bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// The signals that this program takes.
sigset_t taken() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kStopping) {
    if (!is_ignored(signal)) sigaddset(&set, signal);
  }
  sigaddset(&set, SIGUSR1);
  return set;
}

// The action for SIGPIPE at the program's start: the caller may have ignored the signal.
struct sigaction inherited_action {};
bool is_changed = false;

}  // namespace

void Signals::start() {
  const sigset_t set = taken();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = start_thread<std::thread>([this] { take(); });
}

Signals::~Signals() {
  if (!thread_.joinable()) return;
  ending_ = true;
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

void Signals::take() {
  const sigset_t set = taken();
  while (true) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (ending_) return;
    if (signal == SIGUSR1) {
      ++lines_asked_;
      continue;
    }
    if (received_ != 0) {
      // Without a newline a shell would write its prompt into the bar. Bypass TerminalLine: a stuck
      // thread may hold its lock.
      if (isatty(STDERR_FILENO) == 1 && write(STDERR_FILENO, "\n", 1) < 0) die_by(signal);
      die_by(signal);
    }
    received_ = signal;
    stop_.request_stop();
  }
}

void ignore_closed_pipes() {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, is_changed ? nullptr : &inherited_action);
  is_changed = true;
}

void heed_closed_pipes() {
  if (is_changed) sigaction(SIGPIPE, &inherited_action, nullptr);
  is_changed = false;
}

void die_by(int signal) {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  raise(signal);
  _exit(128 + signal);  // not reached: the default action ends the process
}

}  // namespace extmerge
