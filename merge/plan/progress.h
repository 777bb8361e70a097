// SPDX-License-Identifier: GPL-3.0-or-later
//
// How far the work is, for whoever shows it. Written by the merge, read by the
// display's thread; each number is atomic, a snapshot of them is not.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace extmerge {

// kPuttingBack: what a named source changed beside the data is put back; no bytes are counted.
enum class Phase : int { kPlanning, kCopying, kVerifying, kUndoing, kPuttingBack, kFinished };

struct Progress {
  std::atomic<Phase> phase{Phase::kPlanning};
  std::atomic<uint64_t> mappings_read{0};  // planning, by this walk
  std::atomic<uint64_t> thins{0};          // planning: others to be compared with the source
  std::atomic<uint64_t> thins_read{0};     // of these; those that share all are read as one
  std::atomic<uint64_t> total_bytes{0};    // of the phase
  std::atomic<uint64_t> done_bytes{0};     // copied, compared or put back, in order
  std::atomic<uint64_t> durable_bytes{0};  // copying: recorded in the journal
};

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace extmerge
