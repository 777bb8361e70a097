// SPDX-License-Identifier: GPL-3.0-or-later

#pragma once

#include <cstdint>
#include <string_view>

namespace extmerge {

// XXH3, 64 bits.
uint64_t hash_of(std::string_view text);

}  // namespace extmerge
