// SPDX-License-Identifier: GPL-3.0-or-later
//
// Starting threads, which the system may refuse: RLIMIT_NPROC, a control group, no memory for a
// stack.

#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "io/error.h"

namespace extmerge {

// kNoThreads
Error no_threads(int error_number);

// Starts a Thread with `arguments`. Throws Error(kNoThreads).
template <typename Thread, typename... Arguments>
Thread start_thread(Arguments&&... arguments) {
  try {
    return Thread(std::forward<Arguments>(arguments)...);
  } catch (const std::system_error& failure) {
    throw no_threads(failure.code().value());
  }
}

// Throws Error(kNoThreads) if `count` more threads cannot be started now. Otherwise a library that
// starts threads itself may abort the program.
void check_threads(unsigned count);

}  // namespace extmerge
