// SPDX-License-Identifier: GPL-3.0-or-later
//
// Shows a Progress on standard error. A thread of its own reads the Progress four times a second:
//
//   bar    redrawn each time, as wide as the terminal is now; # is durable, + is
//          done and not yet durable, - is to do
//   line   one every 30 seconds, and a last one if there was any
//   json   one object a line every half second, with the members and units that
//          cryptsetup's --progress-json has
//   none   nothing; SIGUSR1 still prints a line
//
// A service manager gets the same status every second.
//
// Bytes that an earlier run copied count as done, but not for the rate or the time left. Durable
// bytes are shown apart from done bytes, because only durable bytes survive a crash.

#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "cli/show/size.h"
#include "cli/show/terminal_line.h"
#include "merge/plan/progress.h"

namespace extmerge {

enum class ProgressKind { kAuto, kBar, kLine, kJson, kNone };

// The numbers of a Progress at one moment.
struct ProgressView {
  Phase phase = Phase::kPlanning;
  uint64_t mappings_read = 0;
  uint64_t thins = 0;  // to be compared, 0 if there are none
  uint64_t thins_read = 0;
  uint64_t total = 0;
  uint64_t start = 0;  // done when `elapsed` began
  uint64_t done = 0;
  uint64_t durable = 0;
  std::chrono::milliseconds elapsed{0};  // in this phase
  // In JSON: a phase that counts nothing, beside the numbers of the one before.
  std::optional<Phase> named{};

  uint64_t bytes_per_second() const;
  // The time left; nothing while there is no rate yet.
  std::optional<std::chrono::milliseconds> left() const;
};

std::string progress_line(const ProgressView& view, const SizeFormat& sizes);
// At most `width` columns.
std::string progress_bar(const ProgressView& view, const SizeFormat& sizes, unsigned width);
std::string progress_json(const ProgressView& view, const std::string& device);

class ProgressDisplay {
 public:
  // How many lines SIGUSR1 has asked for so far.
  using LinesAsked = std::function<unsigned()>;

  struct Settings {
    ProgressKind kind = ProgressKind::kAuto;
    std::optional<unsigned> seconds;  // between lines
    SizeFormat sizes;
    std::string device;  // in JSON
  };

  // All references must outlive the display.
  ProgressDisplay(const Progress& progress, LinesAsked lines_asked, TerminalLine& terminal,
                  Settings settings);
  ~ProgressDisplay();

  // Nothing is shown between pause() and go_on(), while a question is on the terminal.
  void pause();
  void go_on();

 private:
  void run();
  ProgressView look();
  // Adds the phase whose clock runs, its start and its time to `view`.
  ProgressView view_of_phase(ProgressView view, std::chrono::steady_clock::time_point now) const;
  void show(const ProgressView& view);
  void show_last(const ProgressView& view);
  void tell_service_manager(const ProgressView& view);

  const Progress& progress_;
  const LinesAsked lines_asked_;
  TerminalLine& terminal_;
  Settings settings_;
  std::chrono::milliseconds period_{};

  Phase phase_ = Phase::kPlanning;  // the phase whose clock runs
  std::chrono::steady_clock::time_point phase_started_;
  uint64_t done_then_ = 0;
  // The last view of the last phase that counted bytes, shown in phases that count nothing.
  std::optional<ProgressView> counted_;
  std::chrono::steady_clock::time_point shown_;
  bool shown_any_ = false;
  std::chrono::steady_clock::time_point told_{};  // last status to the service manager
  bool told_ready_ = false;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool paused_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace extmerge
