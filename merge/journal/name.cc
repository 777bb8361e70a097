// SPDX-License-Identifier: GPL-3.0-or-later
//
// The default name is a hash of the origin's identity, which may be long and hold any character.

#include "io/hash.h"
#include "io/text.h"
#include "merge/journal/journal.h"

namespace extmerge {

std::string unpublished_name(const std::string& name) { return name + ".new"; }
std::string unmarked_name(const std::string& name, uint64_t nonce) {
  return name + "." + hex(nonce);
}
std::string lock_name(const std::string& name) { return name + ".lock"; }

std::string default_journal_name(const std::string& origin_identity) {
  return hex(hash_of(origin_identity)) + ".journal";
}

}  // namespace extmerge
