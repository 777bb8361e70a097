// SPDX-License-Identifier: GPL-3.0-or-later
//
// The default name is a hash of the origin's identity, which may be long and hold any character.

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "merge/journal/journal.h"

namespace extmerge {

namespace {

std::string hexadecimal(uint64_t number) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string digits;
  for (int shift = 60; shift >= 0; shift -= 4) digits += kHex[number >> shift & 15];
  return digits;
}

}  // namespace

std::string unpublished_name(const std::string& name) { return name + ".new"; }
std::string unmarked_name(const std::string& name, uint64_t nonce) {
  return name + "." + hexadecimal(nonce);
}
std::string lock_name(const std::string& name) { return name + ".lock"; }

std::string default_journal_name(const std::string& origin_identity) {
  return hexadecimal(XXH3_64bits(origin_identity.data(), origin_identity.size())) + ".journal";
}

}  // namespace extmerge
