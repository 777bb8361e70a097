// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal's header: what the merge is and whether it is done. There are two
// copies, so that one can be rewritten while the other still stands.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "merge/journal/format.h"
#include "merge/journal/record.h"

namespace extmerge {

struct JournalHeader {
  uint64_t sequence = 0;  // rises with each copy written
  uint64_t nonce = 0;
  JournalState state = JournalState::kIntent;
  uint64_t plan_pages = 0;
  uint64_t fingerprint = 0;
  Bytes undo_log_bytes;  // from DONE on: what must be in the undo log
  MergeRecord record;
};

// What cannot be, in words, nothing if all is well. What is written is held to
// it as what is read is.
std::optional<std::string> find_implausible(const JournalHeader& header);

// One sealed copy of kHeaderSize. Throws kUsage if a path or identity is too
// long: half a name would name another device.
std::vector<std::byte> encode_header(const JournalHeader& header);

// Nothing for a copy that is torn, damaged or no header at all. Throws
// kJournalVersion for an intact copy of another version: magic, version, size
// and checksum have their places in every version.
std::optional<JournalHeader> decode_header(std::span<const std::byte> copy,
                                           const std::string& path);

struct ChosenHeader {
  JournalHeader header;
  size_t copy = 0;  // where it was; the other is the one to write next
};

// The one that holds of `copies`, which are both as they are in the file. Throws
// kDamagedJournal if neither is intact or they contradict each other.
ChosenHeader choose_header(std::span<const std::byte> copies, const std::string& path);

// "EXM-603" for the journal at `path`; `why` ends the sentence.
Error damaged_journal(const std::string& path, const std::string& why);

}  // namespace extmerge
