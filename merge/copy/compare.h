// SPDX-License-Identifier: GPL-3.0-or-later
//
// Whether it pays to compare before writing.
//
// A write of one sector makes a thin provision a block of 64 KiB to 1 GiB, so
// most of what is mapped may be what the origin holds already. Comparing costs
// a read of the origin and saves the writes of what is equal: time on some
// devices, wear and changed-block tracking on all.

#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

#include "io/units.h"

namespace extmerge {

// --compare=auto: does what is faster here, comparing or only copying.
//
// Problem: which one that is depends on both devices and on how much is equal,
// and nobody knows it beforehand. A read may cost what a write does, or a tenth.
//
// Method: the time from commit to commit tells the cost of a mode. Comparing is
// held for 32 MiB. Then the other mode is tried for 32 MiB, or the time that the
// held one would have taken for them; the faster is held for 256 MiB, and so on.
// Each time the verdict stays, the hold doubles, up to 2 GiB; it is at least 32 times
// as long as what the trial lost, or 1 GiB. Within a twentieth comparing wins: it saves wear,
// changed-block tracking and, where the origin is thin, space.
//
// Where nothing is equal, comparing can gain nothing whatever the clock says: a
// trial is lost after 2 MiB, the first hold after 8. A later hold ends when 64
// MiB in a row differ, and a trial decides: more that is equal may follow.
//
// Cost, beside the better mode: 6 % of a GiB at most if the other takes 1.6 times as
// long, 10 % of 2 GiB if four times, of 8 GiB if ten times. Where all differs a
// hundredth is compared. A plan shorter than two trials is compared unless nothing is
// equal, however long that takes: it is short.
//
// A commit after one of the other mode tells the cost of neither. A stall may make
// a wrong verdict; the next trial corrects it. Outcomes come later than questions,
// since pieces are in flight; the answers depend on nothing but the sequence of
// both and the times that are told. Threads: any.
class CompareGovernor {
 public:
  using Clock = std::chrono::steady_clock;

  struct Commit {
    bool compared = false;  // what should_compare() had answered
    Bytes planned;
    Bytes different;  // of a piece that was compared
    Clock::time_point when;
  };

  // The length of the plan, and how much of it can be in flight. Commits come in
  // bursts of that, so a trial is eight of them if that is more than 32 MiB.
  CompareGovernor(Bytes plan, Bytes in_flight);

  // Asked once for each piece in plan order: is it to be compared?
  bool should_compare();
  // Told in plan order of each piece, compared or not.
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
  bool trying_ = false;   // or holding
  Bytes hold_;            // how long this one, or the last one, is
  Seconds held_cost_{0};  // of a byte, in the last hold
  std::optional<Commit> last_;

  // Since the trial or the hold began.
  Bytes counted_;
  Seconds time_{0};
  Bytes window_;  // compared since it was last asked whether anything is equal
  Bytes window_different_;
  Bytes window_length_;
};

}  // namespace extmerge
