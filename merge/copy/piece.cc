// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/piece.h"

#include <algorithm>
#include <cerrno>

namespace extmerge {

Piece::Piece(BlockDevice& data, BlockDevice& origin, const PieceShape& shape,
             std::span<std::byte> data_memory, std::span<std::byte> origin_memory)
    : data_(data),
      origin_(origin),
      shape_(shape),
      data_memory_(data_memory),
      origin_memory_(origin_memory),
      data_queue_(data.make_queue(shape.io_depth)),
      origin_queue_(origin.make_queue(shape.io_depth)) {}

bool Piece::fill(ExtentSource& extents) {
  on_data_.clear();
  on_origin_.clear();
  planned_ = bytes_written_ = bytes_different_ = Bytes(0);
  first_difference_.reset();
  compare = false;
  failure = nullptr;

  const auto block = static_cast<size_t>(data_.logical_block_size().value());
  size_t used = 0;
  while (used < shape_.buffer_size && planned_ < shape_.most) {
    const Bytes room = std::min(Bytes(shape_.buffer_size - used), shape_.most - planned_);
    const std::optional<Extent> extent = extents.next(room);
    if (!extent) break;
    const auto length = static_cast<size_t>(extent->length.value());
    // Only the plan's last extent can end inside a block. The data device has the whole block, and
    // the unit in the buffer has room for it.
    on_data_.push_back({extent->data_offset, used, round_up(length, block)});
    on_origin_.push_back({extent->origin_offset, used, length, extent->data_offset >= kZerosAt});
    planned_ += extent->length;
    used += round_up(length, shape_.unit);
  }
  join(on_data_);
  join(on_origin_);
  return planned_ > Bytes(0);
}

void Piece::join(std::vector<Place>& places) {
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.offset < b.offset; });
  size_t kept = 0;
  for (size_t i = 1; i < places.size(); ++i) {
    Place& last = places[kept];
    const Place& next = places[i];
    if (next.offset == last.offset + Bytes(last.length) &&
        next.memory == last.memory + last.length && next.zeros == last.zeros) {
      last.length += next.length;
    } else {
      places[++kept] = next;
    }
  }
  if (!places.empty()) places.resize(kept + 1);
}

void Piece::make_requests(std::vector<IoRequest>& requests, Direction direction,
                          std::span<const Place> places, std::span<std::byte> memory) const {
  requests.clear();
  for (const Place& place : places) {
    for (size_t done = 0; done < place.length; done += shape_.io_size) {
      const size_t length = std::min(shape_.io_size, place.length - done);
      requests.push_back(
          {direction, place.offset + Bytes(done), memory.subspan(place.memory + done, length)});
    }
  }
}

void Piece::read(bool both) {
  make_requests(data_requests_, Direction::kRead, on_data_, data_memory_);
  if (both) make_requests(origin_requests_, Direction::kRead, on_origin_, origin_memory_);
  data_queue_->submit(data_requests_);
  if (both) origin_queue_->submit(origin_requests_);
  data_queue_->wait();
  if (both) origin_queue_->wait();
  if (const auto failed = finish_transfer(data_, *data_queue_, data_requests_)) {
    throw io_error(data_, *failed);
  }
  if (!both) return;
  if (const auto failed = finish_transfer(origin_, *origin_queue_, origin_requests_)) {
    throw io_error(origin_, *failed);
  }
}

void Piece::write() {
  std::erase_if(on_origin_,
                [this](const Place& place) { return place.zeros && write_zeros(place); });
  write_places(on_origin_);
}

bool Piece::write_zeros(const Place& place) {
  const int failed = origin_.write_zeros(place.offset, Bytes(place.length));
  if (failed == EOPNOTSUPP) return false;
  if (failed != 0) throw io_error(origin_, {Direction::kWrite, place.offset, failed});
  bytes_written_ += Bytes(place.length);
  return true;
}

void Piece::write_places(std::span<const Place> places) {
  make_requests(origin_requests_, Direction::kWrite, places, data_memory_);
  if (const auto failed = transfer(origin_, *origin_queue_, origin_requests_)) {
    throw io_error(origin_, *failed);
  }
  for (const Place& place : places) bytes_written_ += Bytes(place.length);
}

void Piece::find_dirty(size_t unit, size_t joined_gap) {
  dirty_.clear();
  for (const Place& place : on_origin_) {
    differences_.clear();
    extmerge::find_differences(data_memory_.subspan(place.memory, place.length),
                               origin_memory_.subspan(place.memory, place.length), place.offset,
                               unit, joined_gap, differences_);
    for (const ByteRange& range : differences_) {
      dirty_.push_back(
          {place.offset + Bytes(range.begin), place.memory + range.begin, range.end - range.begin});
    }
  }
}

void Piece::write_differences() {
  find_dirty(shape_.unit, kJoinedGap);
  write_places(dirty_);
}

void Piece::save_and_write_differences(UndoLog& log) {
  find_dirty(shape_.unit, 0);
  overwrites_.clear();
  for (const Place& place : dirty_) {
    overwrites_.push_back({place.offset, origin_memory_.subspan(place.memory, place.length),
                           data_memory_.subspan(place.memory, place.length)});
  }
  log.save(end, overwrites_);
  write_places(dirty_);
}

void Piece::find_differences() {
  find_dirty(kCompareUnit, 0);
  for (const Place& place : dirty_) bytes_different_ += Bytes(place.length);
  if (dirty_.empty()) return;
  const Place& first = dirty_.front();
  size_t i = first.memory;
  while (data_memory_[i] == origin_memory_[i]) ++i;
  first_difference_ = first.offset + Bytes(i - first.memory);
}

}  // namespace extmerge
