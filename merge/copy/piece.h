// SPDX-License-Identifier: GPL-3.0-or-later
//
// A piece is the next few extents of the plan, up to one buffer full. It brings them from the data
// device to the origin.
//
// Problem: the worst plan has single blocks in random places and always needs one transfer per
// block. In every other plan neighbours should share a transfer. Both devices are faster with
// rising offsets. The plan is in the origin's order, not in the data device's.
//
// Method: the buffer holds the extents in plan order. Each pass sorts the ranges by offset on its
// device, and joins ranges that continue each other both there and in memory. It cuts the result at
// io_size and submits all at once.
//
// Memory: one buffer, a second one for the origin's side if it is compared, and an asynchronous
// queue for each device. A piece is reused, and allocates nothing after the first few rounds.
//
// Threads: one at a time.

#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "io/block_device.h"
#include "io/compare.h"
#include "io/transfer.h"
#include "merge/plan/runs.h"
#include "merge/undo/log.h"

namespace extmerge {

// The properties that all pieces of one run share.
struct PieceShape {
  // Extents begin at multiples of this in the buffer: 4 KiB, or the larger
  // logical block size, so that direct I/O can use their memory.
  size_t unit = 4096;
  size_t buffer_size = 1 << 20;  // a multiple of unit
  Bytes most{1 << 20};           // planned bytes, at most buffer_size
  size_t io_size = 1 << 20;      // a multiple of unit
  unsigned io_depth = 64;
};

class Piece {
 public:
  // Both memories have buffer_size bytes and belong to the caller. The one for the origin's side
  // may be empty if read(true) is never called. Throws Error(kAioUnavailable).
  Piece(BlockDevice& data, BlockDevice& origin, const PieceShape& shape,
        std::span<std::byte> data_memory, std::span<std::byte> origin_memory);

  // Takes the next extents and resets all results. False if no extents are left.
  bool fill(ExtentSource& extents);
  Bytes planned() const { return planned_; }

  // The functions below throw Error(kReadFailed) or kWriteFailed. No transfer is in flight then.

  // Reads the data; with `both`, also the same places of the origin.
  void read(bool both);
  // Writes the data to the origin.
  void write();
  // After read(true): writes the differing ranges.
  void write_differences();
  // The same, but saves the old bytes first, and never overwrites equal bytes.
  void save_and_write_differences(UndoLog& log);
  Bytes bytes_written() const { return bytes_written_; }

  // After read(true): compares and writes nothing.
  void find_differences();
  Bytes bytes_different() const { return bytes_different_; }  // in units of 4 KiB, or the tail
  std::optional<Bytes> first_difference() const { return first_difference_; }  // on the origin

  // Results for the later stages.
  bool compare = false;        // must be compared
  Bytes end;                   // the position in the plan after it
  std::exception_ptr failure;  // the failure, if the piece is not complete

 private:
  // A range of a device, and its memory.
  struct Place {
    Bytes offset;
    size_t memory = 0;  // index in the buffer
    size_t length = 0;
    bool zeros = false;  // known to be zeros, without a look at them
  };

  static void join(std::vector<Place>& places);
  void make_requests(std::vector<IoRequest>& requests, Direction direction,
                     std::span<const Place> places, std::span<std::byte> memory) const;
  void find_dirty(size_t unit, size_t joined_gap);
  void write_places(std::span<const Place> places);
  // Whether the origin has made the place zeros, so that they need not be written.
  bool write_zeros(const Place& place);

  BlockDevice& data_;
  BlockDevice& origin_;
  const PieceShape shape_;
  const std::span<std::byte> data_memory_;
  const std::span<std::byte> origin_memory_;
  Bytes planned_;
  Bytes bytes_written_;
  Bytes bytes_different_;
  std::optional<Bytes> first_difference_;
  std::vector<Place> on_data_;    // joined, lengths rounded up to whole logical blocks
  std::vector<Place> on_origin_;  // joined
  std::vector<Place> dirty_;      // where the origin differs
  std::vector<ByteRange> differences_;
  std::vector<Overwrite> overwrites_;
  std::vector<IoRequest> data_requests_;
  std::vector<IoRequest> origin_requests_;
  // Declared last: their destructors wait for transfers in flight, which still write to the
  // requests.
  const std::unique_ptr<AsyncQueue> data_queue_;
  const std::unique_ptr<AsyncQueue> origin_queue_;
};

}  // namespace extmerge
