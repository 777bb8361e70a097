// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/terminal_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace extmerge {

namespace {

// Clears the screen from the bar's start to the end. The cursor waits at the bar's start. A
// terminal that became narrower may have broken the bar into lines, which all lie below. The blank
// is for tmux: it keeps text as history if the screen is cleared from its first cell.
constexpr std::string_view kWipe = "\r \033[J\r";

bool understands_escapes() {
  const char* term = std::getenv("TERM");
  return term && *term && std::string_view(term) != "dumb";
}

bool colours_wanted() {
  const char* no_color = std::getenv("NO_COLOR");
  return !no_color || !*no_color;
}

}  // namespace

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

TerminalLine::TerminalLine(int fd)
    : fd_(fd),
      terminal_(isatty(fd) == 1 && understands_escapes()),
      colours_(terminal_ && colours_wanted()) {}

unsigned TerminalLine::width() const {
  winsize size{};
  if (ioctl(fd_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void TerminalLine::write_line(std::string_view text) {
  const std::lock_guard lock(mutex_);
  std::string line = bar_drawn_ ? std::string(kWipe) : std::string();
  bar_drawn_ = false;
  line += text;
  line += '\n';
  write_all(fd_, line);
}

void TerminalLine::draw(std::string_view text) {
  const std::lock_guard lock(mutex_);
  bar_drawn_ = true;
  write_all(fd_, std::string(kWipe) + std::string(text) + "\r");
}

void TerminalLine::end_bar() {
  const std::lock_guard lock(mutex_);
  if (bar_drawn_) write_all(fd_, "\n");
  bar_drawn_ = false;
}

}  // namespace extmerge
