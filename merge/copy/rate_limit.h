// SPDX-License-Identifier: GPL-3.0-or-later
//
// A token bucket: whoever wants to use the disks for something else gives the
// merge a number of bytes a second. The bucket holds a tenth of a second's, so
// over any stretch of time no more passes than rate x time + rate / 10.
//
// The clock is a parameter, so that a test need not wait.

#pragma once

#include <chrono>
#include <functional>
#include <stop_token>

#include "io/units.h"

namespace extmerge {

class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  // Sleeps until then, or until a stop is requested.
  using SleepUntil = std::function<void(Clock::time_point, const std::stop_token&)>;

  // The bucket is full at first. `most_at_once` is the largest amount that will
  // be asked for; a bucket that never held as much would never let it pass.
  RateLimit(Bytes bytes_per_second, Bytes most_at_once);
  RateLimit(Bytes bytes_per_second, Bytes most_at_once, std::function<Clock::time_point()> now,
            SleepUntil sleep_until);

  // Returns when `amount` may pass: true; false if a stop was requested first.
  bool wait_for(Bytes amount, const std::stop_token& stop);

 private:
  const double rate_;
  const double capacity_;
  const std::function<Clock::time_point()> now_;
  const SleepUntil sleep_until_;
  double held_;
  Clock::time_point last_;
};

// A tenth of a second's bytes, in whole units of 4 KiB; at least one `smallest`.
Bytes largest_piece(Bytes bytes_per_second, Bytes smallest);

}  // namespace extmerge
