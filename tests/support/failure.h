// SPDX-License-Identifier: GPL-3.0-or-later

#pragma once

#include <functional>

#include "io/error.h"

namespace extmerge {

// The Error of a deed; kInternal if it did not fail.
inline Error failure(const std::function<void()>& deed) {
  try {
    deed();
  } catch (const Error& error) {
    return error;
  }
  return Error(MessageId::kInternal, "nothing failed", "");
}

}  // namespace extmerge
