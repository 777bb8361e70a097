// SPDX-License-Identifier: GPL-3.0-or-later
//
// The pieces of one run own all its memory. They are filled in plan order, at the allowed rate,
// until the plan ends, a stop is requested or something fails.
//
// There are as many pieces as may be in flight. So take() always finds a free one, and memory is
// bounded for every block size. All buffers are parts of one allocation, so that they get huge
// pages even if each is smaller than one.

#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "io/buffer.h"
#include "merge/copy/copy_job.h"
#include "merge/copy/piece.h"
#include "merge/copy/rate_limit.h"

namespace extmerge {

class Pieces {
 public:
  // With `both`, pieces have memory for the origin's bytes, too. Throws Error(kNoMemory),
  // kAioUnavailable.
  Pieces(const CopyJob& job, const PipelineOptions& options, bool both,
         const std::stop_token& stop);

  unsigned count() const { return static_cast<unsigned>(pieces_.size()); }

  // The next piece of the plan; null at the end, after a stop or a failure. Sleeps as the rate
  // limit demands. One thread at a time; does not throw.
  Piece* take();
  void give_back(Piece& piece);

  // Ends taking after a failure. Any thread, any time.
  void end() { ending_.request_stop(); }

  // The exception of the source of extents or of the watch, once take() has returned null.
  std::exception_ptr failure() const { return failure_; }
  // Whether a stop cut the plan before its end.
  bool stopped() const { return stopped_; }

 private:
  void watch();

  ExtentSource& extents_;
  Bytes taken_;  // of the plan; only take() uses it
  const std::function<void()> watch_;
  std::chrono::steady_clock::time_point watched_;
  const std::stop_token stop_;
  // Ends a sleep of the rate limit, after a stop or a failure.
  std::stop_source ending_;
  std::stop_callback<std::function<void()>> when_stopped_;
  std::optional<RateLimit> rate_limit_;
  Buffer memory_;  // declared before the pieces: their queues may still be writing into it
  std::vector<std::unique_ptr<Piece>> pieces_;
  std::mutex lock_;
  std::vector<Piece*> free_;  // the last returned is taken first: its memory is in the cache
  std::exception_ptr failure_;
  bool stopped_ = false;
};

}  // namespace extmerge
