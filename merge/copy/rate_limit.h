// SPDX-License-Identifier: GPL-3.0-or-later
//
// A token bucket that limits the merge to a number of bytes a second. The bucket holds the bytes of
// a tenth of a second. So in any period at most rate x time + rate / 10 bytes pass.
//
// The clock is a parameter, so that tests do not wait.

#pragma once

#include <chrono>
#include <functional>
#include <stop_token>

#include "io/units.h"

namespace extmerge {

class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  // Sleeps until the time, or until a stop is requested.
  using SleepUntil = std::function<void(Clock::time_point, const std::stop_token&)>;

  // The bucket starts full. `most_at_once` is the largest amount for wait_for(): a smaller bucket
  // would never let it pass.
  RateLimit(Bytes bytes_per_second, Bytes most_at_once);
  RateLimit(Bytes bytes_per_second, Bytes most_at_once, std::function<Clock::time_point()> now,
            SleepUntil sleep_until);

  // Returns true when `amount` may pass, false if a stop was requested first.
  bool wait_for(Bytes amount, const std::stop_token& stop);

 private:
  const double rate_;
  const double capacity_;
  const std::function<Clock::time_point()> now_;
  const SleepUntil sleep_until_;
  double held_;
  Clock::time_point last_;
};

// The bytes of a tenth of a second, in whole units of 4 KiB; at least `smallest`.
Bytes largest_piece(Bytes bytes_per_second, Bytes smallest);

}  // namespace extmerge
