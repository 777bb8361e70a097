// SPDX-License-Identifier: GPL-3.0-or-later
//
// take, work and commit as the filters of a oneTBB pipeline.
//
// `threads` pieces are in work at once. The stages mostly sleep in the kernel, so the number of
// processors does not matter. TBB would use no more threads than processors, with only a warning,
// so it gets the number.

#pragma once

#include <tbb/global_control.h>
#include <tbb/parallel_pipeline.h>
#include <tbb/task_arena.h>

#include <atomic>

#include "io/threads.h"

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define EXTMERGE_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define EXTMERGE_THREAD_SANITIZER
#endif

#ifdef EXTMERGE_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace extmerge {

// Tells ThreadSanitizer the order of stages that TBB guarantees: it cannot see this order, because
// TBB is not built for it. Everything that a thread did before `event` has happened for the thread
// that comes after it. In other builds these functions do nothing. tests/tsan-suppressions.txt has
// the remaining false reports in TBB's headers.
inline void comes_before([[maybe_unused]] const void* event) {
#ifdef EXTMERGE_THREAD_SANITIZER
  __tsan_release(const_cast<void*>(event));
#endif
}
inline void comes_after([[maybe_unused]] const void* event) {
#ifdef EXTMERGE_THREAD_SANITIZER
  __tsan_acquire(const_cast<void*>(event));
#endif
}

// An event without an object: a stage may use its objects only after they are made.
inline constexpr char kStagesMade = 0;
inline constexpr char kTaken = 0;
inline constexpr char kCommitted = 0;

// If TBB cannot start a thread, it ends the program or hangs. It keeps the threads that it has
// started.
inline void check_stage_threads(unsigned threads) {
  static std::atomic<unsigned> started{1};
  if (started >= threads) return;
  check_threads(threads - started);
  started = threads;
}

// `take` returns the next piece, or nullptr at the end, one call at a time. `work` is called for up
// to `threads` pieces at once, `commit` in the order of take(). None of them may throw. Throws
// Error(kNoThreads).
template <typename Piece, typename Take, typename Work, typename Commit>
void run_stages(unsigned threads, const Take& take, const Work& work, const Commit& commit) {
  check_stage_threads(threads);
  const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, threads);
  tbb::task_arena arena(static_cast<int>(threads));
  const auto taking = tbb::make_filter<void, Piece*>(tbb::filter_mode::serial_in_order,
                                                     [&](tbb::flow_control& control) {
                                                       comes_after(&kStagesMade);
                                                       comes_after(&kTaken);
                                                       Piece* const piece = take();
                                                       if (piece) {
                                                         comes_before(piece);
                                                       } else {
                                                         control.stop();
                                                       }
                                                       comes_before(&kTaken);
                                                       return piece;
                                                     });
  const auto working =
      tbb::make_filter<Piece*, Piece*>(tbb::filter_mode::parallel, [&](Piece* piece) {
        comes_after(&kStagesMade);
        comes_after(piece);
        work(*piece);
        comes_before(piece);
        return piece;
      });
  const auto committing =
      tbb::make_filter<Piece*, void>(tbb::filter_mode::serial_in_order, [&](Piece* piece) {
        comes_after(&kStagesMade);
        comes_after(piece);
        comes_after(&kCommitted);
        commit(*piece);
        comes_before(&kCommitted);
      });
  comes_before(&kStagesMade);
  arena.execute([&] { tbb::parallel_pipeline(threads, taking & working & committing); });
  comes_after(&kTaken);
  comes_after(&kCommitted);
}

}  // namespace extmerge
