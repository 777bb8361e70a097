// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/rate_limit.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace extmerge {

namespace {

constexpr double kBurstSeconds = 0.1;

// Nobody signals the condition: only the clock or a stop ends the wait.
void sleep_until(RateLimit::Clock::time_point when, const std::stop_token& stop) {
  std::mutex lock;
  std::condition_variable_any never;
  std::unique_lock guard(lock);
  never.wait_until(guard, stop, when, [] { return false; });
}

}  // namespace

RateLimit::RateLimit(Bytes bytes_per_second, Bytes most_at_once)
    : RateLimit(
          bytes_per_second, most_at_once, [] { return Clock::now(); }, sleep_until) {}

RateLimit::RateLimit(Bytes bytes_per_second, Bytes most_at_once,
                     std::function<Clock::time_point()> now, SleepUntil sleep_until)
    : rate_(static_cast<double>(std::max<uint64_t>(bytes_per_second.value(), 1))),
      capacity_(std::max(rate_ * kBurstSeconds, static_cast<double>(most_at_once.value()))),
      now_(std::move(now)),
      sleep_until_(std::move(sleep_until)),
      held_(capacity_),
      last_(now_()) {}

bool RateLimit::wait_for(Bytes amount, const std::stop_token& stop) {
  const double wanted = std::min(static_cast<double>(amount.value()), capacity_);
  for (;;) {
    const Clock::time_point now = now_();
    held_ = std::min(capacity_, held_ + rate_ * std::chrono::duration<double>(now - last_).count());
    last_ = now;
    if (stop.stop_requested()) return false;
    // Allow half a byte, so that a rounding error does not cause another wait.
    if (held_ + 0.5 >= wanted) break;
    const std::chrono::duration<double> missing((wanted - held_) / rate_);
    sleep_until_(now + std::chrono::ceil<Clock::duration>(missing), stop);
  }
  held_ -= wanted;
  return true;
}

Bytes largest_piece(Bytes bytes_per_second, Bytes smallest) {
  constexpr uint64_t kUnit = 4096;
  return std::max(Bytes(bytes_per_second.value() / 10 / kUnit * kUnit), smallest);
}

}  // namespace extmerge
