// SPDX-License-Identifier: GPL-3.0-or-later
//
// SIGINT, SIGTERM and SIGHUP ask for a stop: the merge finishes what is in
// flight, records it, and the program ends by that very signal, so that a shell
// or a service manager sees the truth. A second one ends it at once, which is
// safe too: the journal is behind, never ahead. SIGUSR1 asks for a line of
// progress.
//
// Method: the signals are blocked in every thread and taken by one with
// sigwait(), where ordinary code may run. A signal that was ignored when the
// program started (nohup, a background job) stays ignored.

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

  // Until then signals do what they do by default. Must be called before any
  // other thread exists, since threads inherit what is blocked.
  void start();

  std::stop_token stop_token() const { return stop_.get_token(); }
  // The first signal that asked for a stop, 0 if none did.
  int received() const { return received_; }
  // How many SIGUSR1 there were.
  unsigned lines_asked() const { return lines_asked_; }

 private:
  void take();

  std::stop_source stop_;
  std::atomic<int> received_{0};
  std::atomic<unsigned> lines_asked_{0};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

// From now on a write to a closed pipe fails like any other. Until then, and after
// heed_closed_pipes(), it ends the program quietly, as is right for `extmerge plan | head`;
// but not while there is something to put back.
void ignore_closed_pipes();
void heed_closed_pipes();

// Ends the process by `signal`, as if nothing had ever caught it.
[[noreturn]] void die_by(int signal);

}  // namespace extmerge
