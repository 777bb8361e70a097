// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/compare.h"

#include <algorithm>

namespace extmerge {

namespace {

constexpr Bytes kShortestTrial{32 << 20};
constexpr uint64_t kBurstsInTrial = 8;
// In trials.
constexpr uint64_t kFirstHold = 8;
constexpr uint64_t kLongestHold = 64;
constexpr uint64_t kLongestHoldOfNothing = 32;  // where the trial before it found nothing equal
constexpr uint64_t kWindowInHold = 2;
// Nothing equal in so much, at the start or at that of a later trial, is enough to give up.
constexpr Bytes kFirstWindow{8 << 20};
constexpr Bytes kTrialWindow{2 << 20};
// Comparing may cost so much more.
constexpr double kTie = 1.05;
// A hold is at least so many times as long as what the trial before it lost.
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
  if (commit.compared != comparing_) return;  // taken before the change
  const bool nothing_equal = commit.compared && finds_nothing_equal(commit);
  // At the start and in a trial that decides. In a later hold something was equal a moment ago
  // and may soon be again, so there it only ends the hold: the trial that follows decides.
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
  // The time is up when the trial is lost whatever would come.
  const Seconds time_of_held = held_cost_ * static_cast<double>(trial_.value());
  if (counted_ < trial_ && time_ <= time_of_held * kTie) return;
  const Seconds cost = time_ / counted;
  const bool wins = comparing_ ? cost <= held_cost_ * kTie : cost * kTie < held_cost_;
  if (wins) return hold(comparing_, Bytes(0));
  // What the held one would have copied in the time that was lost. No more than the trial's
  // length, since it may have been a stall.
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
