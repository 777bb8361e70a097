// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/compare.h"

#include <algorithm>

namespace extmerge {

namespace {

constexpr Bytes kShortestTrial{32 << 20};
constexpr uint64_t kBurstsInTrial = 8;
// Lengths in trials.
constexpr uint64_t kFirstHold = 8;
constexpr uint64_t kLongestHold = 64;
constexpr uint64_t kLongestHoldOfNothing = 32;  // if the trial before found nothing equal
constexpr uint64_t kWindowInHold = 2;
// Comparing is given up if nothing is equal in so many bytes, at the start or in a later trial.
constexpr Bytes kFirstWindow{8 << 20};
constexpr Bytes kTrialWindow{2 << 20};
// Comparing may take this much longer and still win.
constexpr double kTie = 1.05;
// A hold lasts at least this many times as long as the loss of the trial before.
constexpr double kRepaid = 32;

Bytes times(uint64_t factor, Bytes length) { return Bytes(factor * length.value()); }

}  // namespace

CompareGovernor::CompareGovernor(Bytes plan, Bytes in_flight)
    : trial_(std::max(kShortestTrial, times(kBurstsInTrial, in_flight))),
      hold_(plan < trial_ + trial_ ? plan : trial_),
      window_length_(kFirstWindow) {}

bool CompareGovernor::should_compare() {
  const std::lock_guard guard(lock_);
  return comparing_;
}

void CompareGovernor::committed(const Commit& commit) {
  const std::lock_guard guard(lock_);
  const bool counts = last_ && last_->compared == commit.compared;
  const Seconds took = counts ? commit.when - last_->when : Seconds(0);
  last_ = commit;
  if (commit.compared != comparing_) return;  // the piece was taken before the change
  const bool nothing_equal = commit.compared && finds_nothing_equal(commit);
  // This decides at the start and in a trial. In a later hold some bytes were equal before and may
  // be again: there it only ends the hold, and the next trial decides.
  const bool first_hold = held_cost_ == Seconds(0);
  if (nothing_equal && (trying_ || first_hold)) {
    return hold(false, std::min(hold_ + hold_, times(kLongestHoldOfNothing, trial_)));
  }
  if (!counts) return;
  counted_ += commit.planned;
  time_ += took;
  if (trying_) return judge();
  if (counted_ < hold_ && !nothing_equal) return;
  held_cost_ = time_ / static_cast<double>(counted_.value());
  begin(!comparing_, true);
}

bool CompareGovernor::finds_nothing_equal(const Commit& commit) {
  window_ += commit.planned;
  window_different_ += commit.different;
  if (window_ < window_length_) return false;
  const bool nothing = (window_ - window_different_).value() < window_.value() / 100;
  window_ = window_different_ = Bytes(0);
  window_length_ = times(kWindowInHold, trial_);
  return nothing;
}

void CompareGovernor::judge() {
  const double counted = static_cast<double>(counted_.value());
  // End the trial as soon as it is certainly lost.
  const Seconds time_of_held = held_cost_ * static_cast<double>(trial_.value());
  if (counted_ < trial_ && time_ <= time_of_held * kTie) return;
  const Seconds cost = time_ / counted;
  const bool wins = comparing_ ? cost <= held_cost_ * kTie : cost * kTie < held_cost_;
  if (wins) return hold(comparing_, Bytes(0));
  // The bytes that the held mode would have copied in the lost time. At most the trial's length,
  // since the loss may be a stall.
  double lost = 0;
  if (cost > held_cost_ && held_cost_ > Seconds(0)) lost = time_ / held_cost_ - counted;
  lost = std::min(lost, static_cast<double>(trial_.value()));
  hold(!comparing_, std::max(hold_ + hold_, Bytes(static_cast<uint64_t>(kRepaid * lost))));
}

void CompareGovernor::begin(bool comparing, bool trying) {
  comparing_ = comparing;
  trying_ = trying;
  counted_ = window_ = window_different_ = Bytes(0);
  time_ = Seconds(0);
  window_length_ = trying ? kTrialWindow : times(kWindowInHold, trial_);
}

void CompareGovernor::hold(bool comparing, Bytes length) {
  hold_ = std::clamp(length, times(kFirstHold, trial_), times(kLongestHold, trial_));
  begin(comparing, false);
}

}  // namespace extmerge
