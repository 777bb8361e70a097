// SPDX-License-Identifier: GPL-3.0-or-later
//
// The default name is made from the origin's identity, which may hold any
// character and be long, hence the hash.

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "merge/journal.h"

namespace extmerge {

std::string unpublished_name(const std::string& name) { return name + ".new"; }
std::string lock_name(const std::string& name) { return name + ".lock"; }

std::string default_journal_name(const std::string& origin_identity) {
  XXH64_canonical_t canonical;
  XXH64_canonicalFromHash(&canonical, XXH3_64bits(origin_identity.data(), origin_identity.size()));
  static constexpr char kHex[] = "0123456789abcdef";
  std::string name;
  for (const unsigned char byte : canonical.digest) {
    name += kHex[byte >> 4];
    name += kHex[byte & 15];
  }
  return name + ".journal";
}

}  // namespace extmerge
