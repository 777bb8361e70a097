// SPDX-License-Identifier: GPL-3.0-or-later
//
// SIGINT, SIGTERM and SIGHUP ask for a stop: the merge finishes the transfers in flight and records
// them. Then the program ends by that signal, so that a shell or a service manager sees it. A
// second signal ends the program at once. This is safe: the journal is never ahead of the origin.
// SIGUSR1 asks for a line of progress.
//
// Method: every thread blocks the signals, and one thread takes them with sigwait() and can run
// ordinary code. A signal that was ignored when the program started (nohup, a background job) stays
// ignored.

#pragma once

#include <atomic>
#include <stop_token>
#include <thread>

namespace extmerge {

class Signals {
 public:
  Signals() = default;
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Signals have their default effect before this call. No other thread may exist yet, since
  // threads inherit blocked signals.
  void start();

  std::stop_token stop_token() const { return stop_.get_token(); }
  // The first signal that asked for a stop, 0 if none did.
  int received() const { return received_; }
  // The number of SIGUSR1 so far.
  unsigned lines_asked() const { return lines_asked_; }

 private:
  void take();

  std::stop_source stop_;
  std::atomic<int> received_{0};
  std::atomic<unsigned> lines_asked_{0};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

// From now on a write to a closed pipe fails like any other write. Before, and after
// heed_closed_pipes(), it ends the program quietly, as in `extmerge plan | head`. A command that
// has changes to put back must not end like that.
void ignore_closed_pipes();
void heed_closed_pipes();

// Ends the process by `signal`, with the signal's default action.
[[noreturn]] void die_by(int signal);

}  // namespace extmerge
