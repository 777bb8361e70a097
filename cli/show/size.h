// SPDX-License-Identifier: GPL-3.0-or-later
//
// Sizes as people write and read them.
//
// In: `4096`, `64k`, `64KiB`, `64M`, `128s`. Small and capital letters count in 1024s, as in LVM's
// input. Only a spelled-out decimal unit (kB, MB, GB, ...) counts in 1000s. A fraction is refused,
// not rounded: write 1536M for 1.5G.
//
// Out: the letters of LVM's --units, a capital one meaning 1000s.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/units.h"

namespace extmerge {

// Throws Error(kUsage) that names `option` if `text` is not a size, exceeds 63 bits (the largest
// device), or lies outside [least, most].
Bytes parse_size(std::string_view text, std::string_view option, Bytes least = Bytes(0),
                 Bytes most = Bytes(INT64_MAX));

// Parses a plain decimal number and throws as parse_size() does.
uint64_t parse_number(std::string_view text, std::string_view option, uint64_t least,
                      uint64_t most);

struct SizeFormat {
  char unit = 'h';     // one of bBsSkKmMgGtTpPeEhHrR
  bool suffix = true;  // "18.2 GiB", else "18.2"
};

bool is_unit(char unit);

// b, s: whole bytes or sectors. k..e: two decimals. h: the largest unit that leaves a number of at
// least 1, one decimal. r: as h, with `<` in front if the number is rounded up.
std::string format_size(Bytes size, const SizeFormat& format = {});

}  // namespace extmerge
