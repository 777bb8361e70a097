// SPDX-License-Identifier: GPL-3.0-or-later
//
// Puts back the bytes in an undo log, in three passes over its records. The order does not matter,
// since no two records overlap.
//
//   check     every record intact, and the origin as the merge left it
//   put back  old bytes written; now and then flushed, and recorded how far
//   verify    read back and compared
//
// Nothing is written unless the first pass succeeds. Past the recorded progress of the merge, a
// crash may have left old, new or torn bytes; the first pass accepts any bytes there.
//
// Memory: a record of at most 4 MiB, its counterpart on the origin, and the record's ranges.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "io/block_device.h"
#include "io/buffer.h"
#include "merge/journal/journal.h"
#include "merge/plan/progress.h"
#include "merge/undo/log.h"

namespace extmerge {

// The size of an undo. size_of_undo() throws as UndoLogReader does; kStopped.
struct UndoSize {
  uint64_t ranges = 0;
  Bytes saved_bytes;
  bool has_start = false;  // the origin's first byte is saved
  Bytes end;               // the end of the last range on the origin
};
UndoSize size_of_undo(DurableFile& log, const std::string& path, const Journal& journal,
                      const std::stop_token& stop);

class UndoWork {
 public:
  // All references must outlive the object. `check_origin` is called about once a second and before
  // progress is recorded; it may be empty.
  UndoWork(DurableFile& log, std::string path, Journal& journal, BlockDevice& origin,
           std::function<void()> check_origin, Progress& progress, std::stop_token stop);

  // The first pass. Throws kOriginChanged unless `accept_changes`; kDamagedUndoLog, kReadFailed,
  // kStopped.
  void check(bool accept_changes);
  // The second pass; the journal must be undoing. Cuts off an extension of the origin. With
  // `accept_changes` it also repeats what an interrupted undo has put back. Throws kWriteFailed,
  // kFlushFailed, kStopped.
  void put_back(bool accept_changes);
  // The third pass. On a difference it resets the recorded progress of the undo and throws
  // kDiffers.
  void verify();

 private:
  // A part of a range, and its memory.
  struct Place {
    const SavedRange* range = nullptr;
    std::span<std::byte> memory;
    std::span<const std::byte> old_bytes;  // empty: zeros
  };

  void begin_phase(Phase phase);
  void end_record(const UndoRecord& record);
  // Fills in `places_` with the parts of the record before `end` on the origin.
  void lay_out(const UndoRecord& record, Bytes end);
  void transfer_places(Direction direction);
  bool is_old(const Place& place) const;
  void check_record(const UndoRecord& record, bool is_undone);
  void record_undone(Bytes offset);

  DurableFile& log_;
  const std::string path_;
  Journal& journal_;
  BlockDevice& origin_;
  const std::function<void()> check_origin_;
  Progress& progress_;
  const std::stop_token stop_;
  std::chrono::steady_clock::time_point watched_;

  std::vector<Place> places_;
  std::vector<IoRequest> requests_;
  Buffer memory_;
  // Declared last: its destructor waits for transfers into the memory.
  const std::unique_ptr<AsyncQueue> queue_;
};

}  // namespace extmerge
