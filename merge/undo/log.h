// SPDX-License-Identifier: GPL-3.0-or-later
//
// The undo log: what the origin held where a merge has overwritten it, so that
// the merge can be taken back. docs/journal-format.md has the bytes.
//
//   copy   compare, and of what differs: old bytes appended, log synced, origin written
//   undo   every record checked and put back; the order does not matter
//
// Only bytes that change are saved, and each of them once: what an interrupted
// run had saved is not saved again by the one that goes on, since the origin may
// hold merged or torn bytes there by now. So no two records overlap, and what
// is saved is what the origin held before the merge began.
//
// Records are appended in one order and synced in that order. A power cut
// leaves the synced ones and perhaps some after them; those were not needed yet.

#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "io/durable_file.h"
#include "io/units.h"

namespace extmerge {

// What is about to be overwritten, and with what.
struct Overwrite {
  Bytes offset;  // on the origin
  std::span<const std::byte> old_bytes;
  std::span<const std::byte> new_bytes;
};

// XXH3, 128 bits, of what the merge wrote.
using WriteDigest = std::array<uint8_t, 16>;

struct SavedRange {
  Bytes offset;
  Bytes length;
  bool is_zero = false;  // the old bytes are zeros, and not stored
  WriteDigest digest{};
};

struct UndoRecord {
  Bytes position;  // of the plan: the range was durably overwritten if progress has reached it
  std::vector<SavedRange> ranges;
  std::vector<std::byte> bytes;  // the old ones, of all ranges that are not zero
};

class UndoLog {
 public:
  // Makes `name`. Throws kUndoLogInTheWay if there is something of that name but a log in
  // which nothing was saved, of the same `owner`, who has the origin's lock. `nonce` is the
  // journal's.
  static std::unique_ptr<UndoLog> create(DurableDirectory& directory, const std::string& name,
                                         uint64_t nonce, uint64_t owner = 0);
  // To go on: `durable` bytes of it were synced when progress was recorded at `position`. What the
  // disk has after them is kept, and what was saved past `position` is known from now on.
  // Throws kNoUndoLog, kDamagedUndoLog, kStopped.
  static std::unique_ptr<UndoLog> open(DurableDirectory& directory, const std::string& name,
                                       uint64_t nonce, Bytes durable, Bytes position,
                                       const std::stop_token& stop);
  // Throws kUndoLogInTheWay as create() does.
  static void check_free(DurableDirectory& directory, const std::string& name, uint64_t owner = 0);

  // Durable when it returns. Any thread; those that wait at once share one sync. After a
  // failure it throws for ever: what is durable is in doubt.
  void save(Bytes position, std::span<const Overwrite> overwrites);

  // Of what is synced.
  Bytes durable_bytes() const;
  const std::string& path() const { return path_; }

 private:
  UndoLog(std::unique_ptr<DurableFile> file, std::string path, uint64_t nonce);
  std::vector<Overwrite> not_saved(std::span<const Overwrite> overwrites) const;
  void append(Bytes position, std::span<const Overwrite> overwrites);
  void remember(const UndoRecord& record);
  void wait_until_durable(std::unique_lock<std::mutex>& guard);

  const std::unique_ptr<DurableFile> file_;
  const std::string path_;
  const uint64_t nonce_;
  // Of the run before: begin and end on the origin, neighbours joined.
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

// The records of one log, from the first on.
class UndoLogReader {
 public:
  // Throws kNoUndoLog if it is missing or was begun by another merge; kDamagedUndoLog.
  // `durable`: a record that ends before that must be there, else kDamagedUndoLog.
  // `file` must outlive it, `path` is for messages.
  UndoLogReader(DurableFile& file, std::string path, uint64_t nonce, Bytes durable);

  enum class What { kAll, kRanges };
  // The old bytes are skipped, and not checked, with kRanges. False at the end.
  bool next(UndoRecord& record, What what);

  // After the last record that next() gave.
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

// Opens `name` to be read. Throws kNoUndoLog if there is none.
std::unique_ptr<DurableFile> open_undo_log(DurableDirectory& directory, const std::string& name,
                                           bool writable);

WriteDigest digest_of(std::span<const std::byte> bytes);

// Of a log: the origin with that identity.
uint64_t undo_log_owner(const std::string& origin_identity);

// What a log takes, at most, for that many bytes that change in as many pieces.
Bytes undo_log_size(Bytes changed, uint64_t pieces);

}  // namespace extmerge
