// SPDX-License-Identifier: GPL-3.0-or-later
//
// Standard error, shared by messages and a progress bar. The bar is the last line of the terminal,
// without a newline. A message wipes it and writes its own lines. The next draw() shows the bar
// again.
//
// Several threads may use it at once.

#pragma once

#include <mutex>
#include <string>
#include <string_view>

namespace extmerge {

// Drops failures: a failed write to standard error or a log does not end a merge.
void write_all(int fd, std::string_view text);

class TerminalLine {
 public:
  // Writes to file descriptor `fd`, which must stay open.
  explicit TerminalLine(int fd);

  bool is_terminal() const { return terminal_; }
  // Whether the terminal shows colours and NO_COLOR is not set.
  bool has_colours() const { return colours_; }
  // The terminal's columns now: a user may resize it at any time.
  unsigned width() const;

  // `text` has no final newline.
  void write_line(std::string_view text);
  // Replaces the bar that was drawn last.
  void draw(std::string_view text);
  // Keeps the bar on the screen and moves to the next line.
  void end_bar();

 private:
  const int fd_;
  const bool terminal_;
  const bool colours_;
  std::mutex mutex_;
  bool bar_drawn_ = false;
};

}  // namespace extmerge
