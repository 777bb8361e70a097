// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/thread_queue.h"

#include <algorithm>

#include "io/sync_queue.h"
#include "io/threads.h"

namespace extmerge {

void ThreadQueue::submit(std::span<IoRequest> requests) {
  size_t wanted = 0;
  {
    const std::lock_guard guard(lock_);
    // In reverse, so that the first one is taken first.
    for (size_t i = requests.size(); i > 0; --i) left_.push_back(&requests[i - 1]);
    wanted = std::min(kThreads, left_.size());
  }
  try {
    while (threads_.size() + 1 < wanted)
      threads_.push_back(start_thread<std::jthread>([this] { work(); }));
  } catch (const Error&) {
    // Those that there are do it.
  }
}

void ThreadQueue::wait() {
  work();
  threads_.clear();
}

void ThreadQueue::work() {
  for (;;) {
    IoRequest* request = nullptr;
    {
      const std::lock_guard guard(lock_);
      if (left_.empty()) return;
      request = left_.back();
      left_.pop_back();
    }
    carry_out(*file_, *request);
  }
}

}  // namespace extmerge
