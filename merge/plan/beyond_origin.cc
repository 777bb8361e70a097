// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/beyond_origin.h"

#include <algorithm>

#include "io/compare.h"
#include "io/transfer.h"
#include "merge/plan/summary.h"

namespace extmerge {

namespace {

constexpr size_t kChunk = 1 << 20;
// Data blocks are multiples of it, so rounding stays inside a block.
constexpr uint64_t kAlignment = 4096;

}  // namespace

void BeyondOriginScan::look_at(const Extent& extent, std::stop_token stop) {
  if (!queue_) {
    queue_ = data_.make_queue(1);
    buffer_ = Buffer(kChunk);
  }
  // The extent may begin and end at any sector: read aligned, and check only the extent.
  uint64_t at = extent.data_offset.value();
  const uint64_t end = at + extent.length.value();
  while (at < end && !found_data_) {
    // A stop must not count as "found nothing".
    if (stop.stop_requested()) throw stopped_while_planning();
    const uint64_t aligned = at / kAlignment * kAlignment;
    const uint64_t piece_end = std::min(aligned + kChunk, end);
    const uint64_t read_end = round_up(piece_end, kAlignment);
    const auto memory = buffer_.span().first(read_end - aligned);
    read_fully(data_, *queue_, Bytes(aligned), memory);
    found_data_ = !all_zero(memory.subspan(at - aligned, piece_end - at));
    at = piece_end;
  }
}

}  // namespace extmerge
