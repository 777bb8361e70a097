// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/threads.h"

#include <latch>
#include <vector>

namespace extmerge {

Error no_threads(int error_number) {
  return Error(MessageId::kNoThreads, "cannot start a thread: " + errno_text(error_number),
               "raise the limit on processes (ulimit -u, or TasksMax of the service), free some "
               "memory, or lower --threads");
}

void check_threads(unsigned count) {
  std::latch all_started(1);
  std::vector<std::jthread> threads;
  threads.reserve(count);
  try {
    while (threads.size() < count)
      threads.push_back(start_thread<std::jthread>([&] { all_started.wait(); }));
  } catch (...) {
    all_started.count_down();
    throw;
  }
  all_started.count_down();
}

}  // namespace extmerge
