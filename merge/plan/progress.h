// SPDX-License-Identifier: GPL-3.0-or-later
//
// The progress of the work, for displays. The merge writes it, the display's thread reads it. Each
// number is atomic, but all together are not.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace extmerge {

// No bytes are counted in some of them. kCopyingUp: siblings get their own copies. kFlushing: the
// last bytes become durable. kWaiting: until the thin is closed. kPuttingBack: a named source puts
// back its changes beside the data.
enum class Phase : int {
  kPlanning,
  kCopyingUp,
  kCopying,
  kFlushing,
  kVerifying,
  kUndoing,
  kWaiting,
  kPuttingBack,
  kFinished
};
constexpr bool counts_nothing(Phase phase) {
  return phase == Phase::kFlushing || phase == Phase::kWaiting || phase == Phase::kPuttingBack;
}

struct Progress {
  std::atomic<Phase> phase{Phase::kPlanning};
  std::atomic<uint64_t> mappings_read{0};  // planning, since the phase began
  std::atomic<uint64_t> thins{0};          // planning: other thins to compare with the source
  std::atomic<uint64_t> thins_read{0};     // of these; thins with the same tree are read as one
  std::atomic<uint64_t> total_bytes{0};    // of the phase
  std::atomic<uint64_t> done_bytes{0};     // copied, compared or put back
  std::atomic<uint64_t> durable_bytes{0};  // copying: recorded in the journal

  // A named source is planned before its freeze and with it: the display shows one phase.
  void begin_plan() {
    if (phase != Phase::kPlanning) mappings_read = 0;
    thins = thins_read = 0;
    phase = Phase::kPlanning;
  }
};

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace extmerge
