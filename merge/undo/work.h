// SPDX-License-Identifier: GPL-3.0-or-later
//
// Puts back what an undo log has saved: three passes over its records, in the
// order they were saved in, which does not matter since no two overlap.
//
//   check     every record intact, and the origin as the merge left it
//   put back  old bytes written; now and then flushed, and recorded how far
//   verify    read back and compared
//
// Nothing is written unless the first pass finds all well. Where progress of the
// merge had not been recorded, a crash may have left old, new or torn bytes; the
// first pass takes them as they are.
//
// Memory: a record of at most 4 MiB, its counterpart on the origin, and what the
// log's ranges take.

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

// What there is to put back. Throws as UndoLogReader does; kStopped.
struct UndoSize {
  uint64_t ranges = 0;
  Bytes saved_bytes;
  bool has_start = false;  // the origin's first byte is among them
  Bytes end;               // behind the last of them on the origin
};
UndoSize size_of_undo(DurableFile& log, const std::string& path, const Journal& journal,
                      const std::stop_token& stop);

class UndoWork {
 public:
  // All must outlive it. `check_origin` is called about once a second and before progress is
  // recorded; it may be empty.
  UndoWork(DurableFile& log, std::string path, Journal& journal, BlockDevice& origin,
           std::function<void()> check_origin, Progress& progress, std::stop_token stop);

  // Throws kOriginChanged unless `accept_changes`; kDamagedUndoLog, kReadFailed, kStopped.
  void check(bool accept_changes);
  // The journal must be undoing. Cuts off what the merge has added to the origin's end. Throws
  // kWriteFailed, kFlushFailed, kStopped.
  // With `accept_changes` all of it, also what an interrupted undo had put back.
  void put_back(bool accept_changes);
  // Throws kDiffers, after taking back what is recorded as put back.
  void verify();

 private:
  // Part of a range, and where it is in memory.
  struct Place {
    const SavedRange* range = nullptr;
    std::span<std::byte> memory;
    std::span<const std::byte> old_bytes;  // empty: zeros
  };

  void begin_phase(Phase phase);
  void end_record(const UndoRecord& record);
  // What of the record lies before `end` on the origin.
  void lay_out(const UndoRecord& record, Bytes end);
  void transfer_places(Direction direction);
  bool is_old(const Place& place) const;
  void check_record(const UndoRecord& record, bool is_put_back);
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
  // Declared last: it waits, at the end, for transfers into the memory.
  const std::unique_ptr<AsyncQueue> queue_;
};

}  // namespace extmerge
