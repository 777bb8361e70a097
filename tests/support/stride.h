// SPDX-License-Identifier: GPL-3.0-or-later
//
// The stride between the places that a test tries: power cuts, faults, damaged bytes. Normally it
// tries all. A sanitizer is ten times slower, and tests/mutants runs the tests some fifty times, so
// they skip places.

#pragma once

#include <cstdint>

namespace extmerge {

inline constexpr uint64_t kStride = EXTMERGE_STRIDE;
// For tests with fewer places.
inline constexpr uint64_t kShortStride = (kStride + 7) / 8;

}  // namespace extmerge
