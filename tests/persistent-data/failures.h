// SPDX-License-Identifier: GPL-3.0-or-later
//
// The failure of a deed as text, so that a test expects a failure and its place in one line.

#pragma once

#include <cstdint>
#include <string>

#include "io/error.h"
#include "persistent-data/mapping_walk.h"

namespace extmerge {

// "EXM-901 metadata block 5 of memory: ...", or "done" if nothing was thrown.
template <typename Deed>
std::string failure_of(Deed&& deed) {
  try {
    deed();
  } catch (const Error& error) {
    return to_string(error.id()) + " " + error.what();
  }
  return "done";
}

// The beginning of every message about a damaged block of a MemoryDevice.
inline std::string damage_in(uint64_t block, const std::string& what) {
  return "EXM-901 metadata block " + std::to_string(block) + " of memory: " + what;
}

}  // namespace extmerge
