// SPDX-License-Identifier: GPL-3.0-or-later
//
// Progress on disk: eight slots of one sector, used in turn. A sequence number's remainder is its
// slot. A write replaces only the oldest slot, so a torn write never loses the last position.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "merge/journal/format.h"
#include "merge/journal/record.h"

namespace extmerge {

struct SequencedProgress {
  uint64_t sequence = 0;
  JournalProgress progress;
};

using ProgressSlot = std::array<std::byte, kSlotSize>;

constexpr size_t slot_of(uint64_t sequence) { return static_cast<size_t>(sequence % kSlots); }

ProgressSlot encode_slot(uint64_t nonce, const SequencedProgress& progress);

// Nothing if the slot is torn, damaged, of another journal or not number `slot`.
std::optional<SequencedProgress> decode_slot(std::span<const std::byte> sector, uint64_t nonce,
                                             size_t slot);

struct FoundProgress {
  SequencedProgress newest;
  // The highest position of any slot. Higher than the newest if that takes back older claims and a
  // power cut prevented overwriting them.
  Bytes highest;
};

// The newest of all slots in `area`; nothing if none is intact. Throws kDamagedJournal if an intact
// slot claims more than `copy_bytes`.
std::optional<FoundProgress> find_progress(std::span<const std::byte> area, uint64_t nonce,
                                           Bytes copy_bytes, const std::string& path);

}  // namespace extmerge
