// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/copy_runs.h"

#include <algorithm>
#include <utility>

namespace extmerge {

namespace {

// A block that the base had in part only is new.
uint64_t first_new_block(const PlanLimits& limits) {
  if (!limits.is_round()) return 0;
  if (limits.held_end >= limits.end) return limits.block_size.blocks_holding(limits.end);
  return limits.held_end.value() / limits.block_size.bytes().value();
}

}  // namespace

CopyRuns::CopyRuns(MetadataReader& reader, const ThinDevice& device, DataBlock end_of_data,
                   const CopyLimits& limits, std::unique_ptr<RunSource> base, Base known,
                   std::stop_token stop, std::function<void(const Mapping&)> left_out)
    : walk_(reader, device.mapping_root, {.end_of_data = end_of_data}),
      limits_(limits),
      end_block_(limits.plan.block_size.blocks_holding(limits.plan.end)),
      first_new_block_(first_new_block(limits.plan)),
      origin_blocks_(limits.plan.block_size.blocks_holding(limits.origin_end)),
      base_(std::move(base)),
      known_(known),
      stop_(std::move(stop)),
      left_out_(std::move(left_out)),
      counter_(device, limits.plan.of_everything(), {}) {}

bool CopyRuns::next(Run& run) {
  if (ended_) return false;
  run = std::exchange(pending_, {});
  for (Run piece; next_piece(piece);) {
    if (run.blocks == 0) {
      run = piece;
    } else if (!run.try_append(piece)) {
      pending_ = piece;
      break;
    }
  }
  if (run.blocks > 0) {
    planned_.add(run, limits_.plan);
    return true;
  }
  if (any_.blocks > 0) counter_.count(any_);
  summary_ = counter_.finish(walk_.delivered());
  summary_.copy_blocks = planned_.blocks;
  summary_.runs = planned_.runs;
  summary_.held_runs = planned_.held_runs;
  summary_.copy_bytes = planned_.bytes;
  summary_.end_of_copy = planned_.end;
  summary_.digest = planned_.digest.finish(limits_.plan);
  ended_ = true;
  return false;
}

const Mapping* CopyRuns::next_mapping() {
  if (batch_.empty()) {
    batch_ = walk_.next();
    if (stop_.stop_requested()) throw stopped_while_planning();
    counter_.look_at(batch_);
  }
  return batch_.empty() ? nullptr : &batch_.front();
}

bool CopyRuns::next_piece(Run& piece) {
  while (const Mapping* const mapping = next_mapping()) {
    const uint64_t block = mapping->thin.value();
    if (next_unmapped(std::min(block, end_block_), piece)) return true;
    const Run one{mapping->thin, mapping->data, 1};
    if (!any_.try_append(one)) {
      if (any_.blocks > 0) counter_.count(any_);
      any_ = one;
    }
    batch_ = batch_.subspan(1);
    if (block >= end_block_) continue;  // not visible
    next_block_ = block + 1;
    piece = one;
    if (limits_.plan.is_planned(mapping->thin, mapping->time)) return true;
    if (left_out_) left_out_(*mapping);
    piece.content = RunContent::kHeld;
    return true;
  }
  return next_unmapped(end_block_, piece);
}

bool CopyRuns::next_unmapped(uint64_t end, Run& piece) {
  while (next_block_ < end) {
    const Run* const mapped_then = base_after(next_block_);
    const uint64_t then = mapped_then ? mapped_then->thin.value() : end;
    const bool is_new = limits_.whole && next_block_ >= first_new_block_;
    const bool was_mapped = then <= next_block_;
    if (!is_new && !was_mapped) {
      next_block_ = std::min(then, limits_.whole ? std::min(end, first_new_block_) : end);
      continue;
    }
    uint64_t stop = end;
    if (!is_new) stop = std::min(end, (mapped_then->thin + mapped_then->blocks).value());
    const bool is_of_origin = next_block_ < origin_blocks_;
    if (is_of_origin) stop = std::min(stop, origin_blocks_);
    piece = {ThinBlock(next_block_), DataBlock(next_block_), stop - next_block_,
             is_of_origin ? RunContent::kUnmapped : RunContent::kZeros};
    next_block_ = stop;
    return true;
  }
  return false;
}

const Run* CopyRuns::base_after(uint64_t block) {
  const auto is_before = [&] {
    const bool counts = known_ == Base::kWritten || of_base_.is_mapped();
    return !counts || (of_base_.thin + of_base_.blocks).value() <= block;
  };
  while (base_ && !base_ended_ && is_before()) base_ended_ = !base_->next(of_base_);
  return base_ && !base_ended_ ? &of_base_ : nullptr;
}

}  // namespace extmerge
