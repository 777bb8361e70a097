// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/range.h"

#include <algorithm>

#include "io/buffer.h"
#include "io/compare.h"
#include "io/transfer.h"

namespace extmerge {

namespace {

constexpr uint64_t kPiece = 1 << 20;

// Reads or writes pieces of one range.
class RangePieces {
 public:
  explicit RangePieces(const Place& place)
      : place_(place), queue_(place.device.make_queue(1)), memory_(kPiece) {}

  std::span<std::byte> read(uint64_t at, uint64_t length) {
    const auto memory = memory_.span().first(length);
    read_fully(place_.device, *queue_, place_.offset + Bytes(at), memory);
    return memory;
  }
  void write(uint64_t at, std::span<std::byte> bytes) {
    write_fully(place_.device, *queue_, place_.offset + Bytes(at), bytes);
  }

 private:
  const Place place_;
  std::unique_ptr<AsyncQueue> queue_;
  Buffer memory_;
};

// Calls `take` with offset and length of each piece until it returns false.
template <typename Take>
void each_piece(Bytes length, const BeforePiece& before_piece, const Take& take) {
  for (uint64_t at = 0; at < length.value(); at += kPiece) {
    before_piece();
    if (!take(at, std::min(kPiece, length.value() - at))) return;
  }
}

}  // namespace

bool has_data(const Place& place, Bytes length, const BeforePiece& before_piece) {
  RangePieces pieces(place);
  bool found = false;
  each_piece(length, before_piece, [&](uint64_t at, uint64_t size) {
    found = !all_zero(pieces.read(at, size));
    return !found;
  });
  return found;
}

void copy_range(const Place& from, const Place& to, Bytes length, const BeforePiece& before_piece) {
  RangePieces source(from), target(to);
  each_piece(length, before_piece, [&](uint64_t at, uint64_t size) {
    const auto bytes = source.read(at, size);
    if (!all_zero(bytes) || !all_zero(target.read(at, size))) target.write(at, bytes);
    return true;
  });
  flush_fully(to.device, "see the kernel's log, then run the same command again");
  each_piece(length, before_piece, [&](uint64_t at, uint64_t size) {
    if (std::ranges::equal(source.read(at, size), target.read(at, size))) return true;
    throw Error(MessageId::kDiffers,
                to.device.name() + " does not return what was copied to it from " +
                    from.device.name() + ", near byte " + std::to_string(to.offset.value() + at),
                "check the disks (smartctl, the kernel's log), then run the same command again");
  });
}

}  // namespace extmerge
