// SPDX-License-Identifier: GPL-3.0-or-later
//
// Decides whether to compare before writing.
//
// A write of one sector makes a thin provision a block of 64 KiB to 1 GiB. So the origin may
// already hold most mapped bytes. A comparison needs a read of the origin and saves the writes of
// equal bytes. On some devices this saves time, on all it saves wear and changed-block tracking.

#pragma once

#include <chrono>
#include <mutex>
#include <optional>

#include "io/units.h"

namespace extmerge {

// --compare=auto: selects the faster mode, comparing or only copying.
//
// Problem: the faster mode depends on both devices and on the share of equal bytes, which are not
// known beforehand. A read may cost as much as a write, or a tenth.
//
// Method: the time between commits tells the cost of a mode. Comparing is held for 32 MiB. Then the
// other mode is tried for 32 MiB, or for the time that the held one needs for them. The faster mode
// is held for 256 MiB, and so on. Each time the verdict stays, the hold doubles, up to 2 GiB. A
// hold lasts at least 32 times as long as the trial's loss, or 1 GiB. Comparing wins if it is at
// most a twentieth slower: it saves wear, changed-block tracking and, on a thin origin, space.
//
// If nothing is equal, comparing cannot win: a trial is lost after 2 MiB, the first hold after 8. A
// later hold ends when 64 MiB in a row differ. Then a trial decides, because more equal bytes may
// follow.
//
// Cost over the better mode: at most 6 % of 1 GiB if the other takes 1.6 times as long, 10 % of 2
// GiB if four times, 10 % of 8 GiB if ten times. If all bytes differ, a hundredth is compared. A
// plan shorter than two trials is always compared, unless nothing is equal.
//
// A commit after one of the other mode tells the cost of neither. A stall may cause a wrong
// verdict; the next trial corrects it. Commits come later than questions, since pieces are in
// flight. The answers depend only on the sequence of both and on the given times. Threads: any.
class CompareGovernor {
 public:
  using Clock = std::chrono::steady_clock;

  struct Commit {
    bool compared = false;  // the answer of should_compare()
    Bytes planned;
    Bytes different;  // of a compared piece
    Clock::time_point when;
  };

  // `plan` is the plan's length, `in_flight` the most bytes in flight. Commits come in bursts of
  // that size, so a trial is eight bursts if that exceeds 32 MiB.
  CompareGovernor(Bytes plan, Bytes in_flight);

  // Called once for each piece in plan order. True if the piece must be compared.
  bool should_compare();
  // Called for each piece in plan order, compared or not.
  void committed(const Commit& commit);

 private:
  using Seconds = std::chrono::duration<double>;

  bool finds_nothing_equal(const Commit& commit);
  void judge();
  void begin(bool comparing, bool trying);
  void hold(bool comparing, Bytes length);

  const Bytes trial_;

  std::mutex lock_;
  bool comparing_ = true;
  bool trying_ = false;   // else holding
  Bytes hold_;            // length of this hold, or of the last one
  Seconds held_cost_{0};  // of a byte, in the last hold
  std::optional<Commit> last_;

  // Since the trial or the hold began.
  Bytes counted_;
  Seconds time_{0};
  Bytes window_;  // compared since the last check for equal bytes
  Bytes window_different_;
  Bytes window_length_;
};

}  // namespace extmerge
