// SPDX-License-Identifier: GPL-3.0-or-later
//
// The undo log holds the old bytes that a merge has overwritten on the origin, so that the merge
// can be undone. docs/journal-format.md has the format.
//
//   copy   compare, and of what differs: old bytes appended, log synced, origin written
//   undo   every record checked and put back; the order does not matter
//
// Only changed bytes are saved, each of them once. A resumed merge does not save the same ranges
// again, since the origin may hold merged or torn bytes there. So no two records overlap, and the
// saved bytes are those from before the merge.
//
// Records are appended and synced in the same order. A power cut leaves the synced records, and
// perhaps some later ones, which were not needed yet.

#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "io/durable_file.h"
#include "io/units.h"

namespace extmerge {

// Old and new bytes of a planned write.
struct Overwrite {
  Bytes offset;  // on the origin
  std::span<const std::byte> old_bytes;
  std::span<const std::byte> new_bytes;
};

// XXH3, 128 bits, of the bytes that the merge wrote.
using WriteDigest = std::array<uint8_t, 16>;

struct SavedRange {
  Bytes offset;
  Bytes length;
  bool is_zero = false;  // the old bytes are zeros, and not stored
  WriteDigest digest{};
};

struct UndoRecord {
  Bytes position;  // of the plan: if progress has reached it, the ranges are durably overwritten
  std::vector<SavedRange> ranges;
  std::vector<std::byte> bytes;  // the old bytes of all ranges that are not zero
};

class UndoLog {
 public:
  // Makes `name`, or replaces an empty file, or an undo log of the same `owner` without records.
  // Throws kUndoLogInTheWay for any other file. `owner` is undo_log_owner() of the origin, whose
  // lock the caller holds. `nonce` is the journal's.
  static std::unique_ptr<UndoLog> create(DurableDirectory& directory, const std::string& name,
                                         uint64_t nonce, uint64_t owner = 0);
  // Opens the undo log of a resumed merge: `durable` bytes were synced when progress was recorded
  // at `position`. Later records on the disk are kept. The log remembers the ranges saved past
  // `position`. Throws kNoUndoLog, kDamagedUndoLog, kStopped.
  static std::unique_ptr<UndoLog> open(DurableDirectory& directory, const std::string& name,
                                       uint64_t nonce, Bytes durable, Bytes position,
                                       const std::stop_token& stop);
  // Throws kUndoLogInTheWay as create() does.
  static void check_free(DurableDirectory& directory, const std::string& name, uint64_t owner = 0);

  // Durable on return. Any thread; threads that wait at once share one sync. After a failure every
  // call throws, because the durable state is unknown.
  void save(Bytes position, std::span<const Overwrite> overwrites);

  // The size of the synced part.
  Bytes durable_bytes() const;

 private:
  UndoLog(std::unique_ptr<DurableFile> file, std::string path, uint64_t nonce)
      : file_(std::move(file)), path_(std::move(path)), nonce_(nonce) {}
  std::vector<Overwrite> not_saved(std::span<const Overwrite> overwrites) const;
  void append(Bytes position, std::span<const Overwrite> overwrites);
  void remember(const UndoRecord& record);
  void wait_until_durable();

  const std::unique_ptr<DurableFile> file_;
  const std::string path_;
  const uint64_t nonce_;
  // Ranges saved by the runs before: begin and end on the origin, neighbours joined.
  std::map<uint64_t, uint64_t> saved_;

  mutable std::mutex lock_;
  std::condition_variable synced_;
  uint64_t sequence_ = 0;
  uint32_t previous_ = 0;  // checksum of the record before
  Bytes end_;
  Bytes durable_;
  bool syncing_ = false;
  std::exception_ptr failure_;  // the first one
};

// Reads the records of one log, from the first on.
class UndoLogReader {
 public:
  // Throws kNoUndoLog if the log belongs to another merge; kDamagedUndoLog. Records in the first
  // `durable` bytes must be intact, else kDamagedUndoLog. `file` must outlive the reader, `path` is
  // for messages.
  UndoLogReader(DurableFile& file, std::string path, uint64_t nonce, Bytes durable);

  enum class What { kAll, kRanges };
  // Reads the next record. kRanges skips the old bytes without a check. False at the end.
  bool next(UndoRecord& record, What what);

  // The end of the last record from next().
  Bytes offset() const { return at_; }
  uint64_t records() const { return sequence_; }
  uint32_t checksum() const { return previous_; }

 private:
  bool end(const std::string& why) const;
  bool goes_on_later() const;
  bool read_exactly(Bytes offset, std::span<std::byte> memory) const;
  bool take_ranges(const std::vector<std::byte>& head, UndoRecord& record, uint64_t& saved) const;

  DurableFile& file_;
  const std::string path_;
  const uint64_t nonce_;
  const Bytes durable_;
  const Bytes size_;
  Bytes at_;
  uint64_t sequence_ = 0;
  uint32_t previous_ = 0;
};

// Opens `name`. Throws kNoUndoLog if it is missing.
std::unique_ptr<DurableFile> open_undo_log(DurableDirectory& directory, const std::string& name,
                                           bool writable);

WriteDigest digest_of(std::span<const std::byte> bytes);

// The owner in a log's header: a hash of the origin's identity.
uint64_t undo_log_owner(const std::string& origin_identity);

// The most bytes that a log needs for `changed` bytes in `pieces` pieces.
Bytes undo_log_size(Bytes changed, uint64_t pieces);

}  // namespace extmerge
