// SPDX-License-Identifier: GPL-3.0-or-later
//
// The pieces of one run: all its memory, filled in plan order, at the rate that
// is allowed, until the plan ends, somebody asks to stop or something fails.
//
// There are as many as may be in flight, so a free one is always there when the
// next is to be taken, and memory is bounded whatever the pool's block size is.
// All buffers are cut from one allocation, which makes them huge pages even if
// each is smaller than one.

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
  // `both`: the origin may be read, too. Throws Error(kNoMemory), kAioUnavailable.
  Pieces(const CopyJob& job, const PipelineOptions& options, bool both,
         const std::stop_token& stop);

  unsigned count() const { return static_cast<unsigned>(pieces_.size()); }

  // The next piece of the plan, nothing when it is over, for whatever reason.
  // Sleeps as the rate limit demands. One thread at a time; does not throw.
  Piece* take();
  void give_back(Piece& piece);

  // Nothing more is to be taken: something has failed. Any thread, any time.
  void end() { ending_.request_stop(); }

  // Once take() has returned nothing. What the source of extents or the watch threw.
  std::exception_ptr failure() const { return failure_; }
  // The plan was cut short because a stop was requested, and not at its end.
  bool stopped() const { return stopped_; }

 private:
  void watch();

  ExtentSource& extents_;
  Bytes taken_;  // of the plan; take's
  const std::function<void()> watch_;
  std::chrono::steady_clock::time_point watched_;
  const std::stop_token stop_;
  // Ends a sleep of the rate limit, both for a stop from outside and for a failure.
  std::stop_source ending_;
  std::stop_callback<std::function<void()>> when_stopped_;
  std::optional<RateLimit> rate_limit_;
  Buffer memory_;  // declared before the pieces: their queues may still be writing into it
  std::vector<std::unique_ptr<Piece>> pieces_;
  std::mutex lock_;
  std::vector<Piece*> free_;  // the last one given back is taken first: its memory is in the cache
  std::exception_ptr failure_;
  bool stopped_ = false;
};

}  // namespace extmerge
