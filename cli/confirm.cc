// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/confirm.h"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "io/error.h"

namespace extmerge {

bool can_ask() { return isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1; }

bool ask(const std::string& question, std::stop_token stop) {
  // Discard what was typed before the question.
  tcflush(STDIN_FILENO, TCIFLUSH);
  if (write(STDERR_FILENO, question.data(), question.size()) < 0) return false;
  std::string answer;
  // Another thread takes the signals, so no signal interrupts this read.
  while (answer.find('\n') == std::string::npos) {
    if (stop.stop_requested())
      throw Error(MessageId::kStopped, "stopped at the question: nothing was done",
                  "run the same command again");
    pollfd input{STDIN_FILENO, POLLIN, 0};
    const int ready = poll(&input, 1, 100);
    if (ready < 0 && errno != EINTR) return false;
    if (ready <= 0) continue;
    char text[256];
    const ssize_t length = read(STDIN_FILENO, text, sizeof text);
    if (length <= 0) return false;
    answer.append(text, static_cast<size_t>(length));
  }
  answer.erase(answer.find('\n'));
  answer.erase(answer.find_last_not_of(" \t\r") + 1);
  std::transform(answer.begin(), answer.end(), answer.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return answer == "y" || answer == "yes";
}

}  // namespace extmerge
