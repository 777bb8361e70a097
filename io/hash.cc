// SPDX-License-Identifier: GPL-3.0-or-later

// The shared library is several times slower than the code inlined.
#define XXH_INLINE_ALL
#include "io/hash.h"

#include <xxhash.h>

namespace extmerge {

uint64_t hash_of(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

}  // namespace extmerge
