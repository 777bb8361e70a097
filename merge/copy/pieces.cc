// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/pieces.h"

#include <algorithm>

#include "io/compare.h"

namespace extmerge {

namespace {

PieceShape shape_for(const CopyJob& job, const PipelineOptions& options) {
  const Bytes block = std::max(job.data.logical_block_size(), job.origin.logical_block_size());
  PieceShape shape;
  shape.unit = std::max(kCompareUnit, static_cast<size_t>(block.value()));
  const auto whole_units = [&](Bytes length) {
    return std::max(static_cast<size_t>(length.value()) / shape.unit, size_t{1}) * shape.unit;
  };
  shape.buffer_size = whole_units(options.buffer_size);
  shape.most = Bytes(shape.buffer_size);
  if (options.rate_limit) {
    // A buffered file has blocks of one byte: use at least a sector.
    const Bytes smallest = std::max(block, Bytes(kSectorSize));
    shape.most = std::min(shape.most, largest_piece(*options.rate_limit, smallest));
    shape.buffer_size = whole_units(shape.most);
  }
  shape.io_size = whole_units(options.io_size);
  shape.io_depth = std::max(options.io_depth, 1u);
  return shape;
}

}  // namespace

Pieces::Pieces(const CopyJob& job, const PipelineOptions& options, bool both,
               const std::stop_token& stop)
    : extents_(job.extents),
      taken_(job.start.position),
      watch_(job.watch),
      watched_(std::chrono::steady_clock::now()),
      stop_(stop),
      when_stopped_(stop, [this] { ending_.request_stop(); }) {
  const PieceShape shape = shape_for(job, options);
  if (options.rate_limit) rate_limit_.emplace(*options.rate_limit, shape.most);
  const size_t pieces = std::max(options.threads, 1u);
  const size_t size = shape.buffer_size;
  memory_ = Buffer(pieces * size * (both ? 2 : 1));
  for (size_t i = 0; i < pieces; ++i) {
    const auto data = memory_.span().subspan(i * size, size);
    const auto origin =
        both ? memory_.span().subspan((pieces + i) * size, size) : std::span<std::byte>();
    pieces_.push_back(std::make_unique<Piece>(job.data, job.origin, shape, data, origin));
    free_.push_back(pieces_.back().get());
  }
}

Piece* Pieces::take() {
  const std::stop_token ending = ending_.get_token();
  // A failure ends at once. On a stop, check first whether the plan has ended: then all is done,
  // and nothing was stopped.
  if (ending.stop_requested() && !stop_.stop_requested()) return nullptr;
  Piece* piece = nullptr;
  {
    const std::lock_guard guard(lock_);
    piece = free_.back();
    free_.pop_back();
  }
  try {
    watch();
    if (piece->fill(extents_)) {
      piece->end = taken_ += piece->planned();
      const bool may_pass =
          rate_limit_ ? rate_limit_->wait_for(piece->planned(), ending) : !ending.stop_requested();
      if (may_pass) return piece;
      stopped_ = stop_.stop_requested();
    }
  } catch (...) {
    failure_ = std::current_exception();
  }
  give_back(*piece);
  return nullptr;
}

void Pieces::watch() {
  if (!watch_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - watched_ < std::chrono::seconds(1)) return;
  watched_ = now;
  watch_();
}

void Pieces::give_back(Piece& piece) {
  const std::lock_guard guard(lock_);
  free_.push_back(&piece);
}

}  // namespace extmerge
