// SPDX-License-Identifier: GPL-3.0-or-later
//
// How many of the places there are a test tries: power cuts, faults, damaged bytes. All of them;
// only every so many under a sanitizer, which makes each ten times slower, and for tests/mutants,
// which runs the tests some fifty times over.

#pragma once

#include <cstdint>

namespace extmerge {

inline constexpr uint64_t kStride = EXTMERGE_STRIDE;
// Where there are not so many.
inline constexpr uint64_t kShortStride = (kStride + 7) / 8;

}  // namespace extmerge
