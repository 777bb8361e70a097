// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal's header describes the merge and its state. There are two copies, so that one stays
// intact while the other is rewritten.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "merge/journal/format.h"
#include "merge/journal/record.h"

namespace extmerge {

struct JournalHeader {
  uint32_t version = kMergeFormatVersion;  // a journal keeps the one that it was begun with
  uint64_t sequence = 0;                   // rises with each copy written
  uint64_t nonce = 0;
  JournalState state = JournalState::kIntent;
  uint64_t plan_pages = 0;
  uint64_t fingerprint = 0;
  Bytes undo_log_bytes;                    // from DONE on: the undo log's least size
  Verified verified = Verified::kNothing;  // from DONE on
  MergeRecord record;
};

// The reason, in words, why a header is implausible; nothing if it is plausible. Headers are
// checked before a write and after a read.
std::optional<std::string> find_implausible(const JournalHeader& header);

// One sealed copy of kHeaderSize bytes, without the old places. Throws kUsage if a path or identity
// is too long: half a name would name another device.
std::vector<std::byte> encode_header(const JournalHeader& header);

// Nothing if the copy is torn, damaged or not a header. Throws kJournalVersion for an intact copy
// of a later version: magic, version, size and checksum have the same places in every version.
std::optional<JournalHeader> decode_header(std::span<const std::byte> copy,
                                           const std::string& path);

struct ChosenHeader {
  JournalHeader header;
  size_t copy = 0;  // its place; the other copy is written next
};

// The valid one of both `copies` of the file. Throws kDamagedJournal if neither is intact or they
// contradict each other.
ChosenHeader choose_header(std::span<const std::byte> copies, const std::string& path);

// "EXM-603" for the journal at `path`; `why` ends the sentence.
Error damaged_journal(const std::string& path, const std::string& why);

// kInternal, for a call that the journal does not allow.
Error misuse(const std::string& happened);

}  // namespace extmerge
