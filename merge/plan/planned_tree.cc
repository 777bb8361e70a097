// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/planned_tree.h"

#include <algorithm>
#include <bit>

namespace extmerge {

namespace {

constexpr uint64_t kWordsCounted = 8;

uint64_t words_of(uint64_t bits) { return (bits + 63) / 64; }

}  // namespace

PlannedTree::PlannedTree(const ThinDevice& source, const PlanLimits& limits,
                         uint64_t nr_metadata_blocks, uint64_t most_blocks)
    : source_(source),
      limits_(limits),
      end_block_(limits.block_size.blocks_holding(limits.end)),
      bits_(std::min(end_block_, most_blocks)),
      memory_(std::max<uint64_t>(1, words_of(bits_)) * sizeof(uint64_t)),
      below_(nr_metadata_blocks) {}

PlannedTree::PlannedTree(RunSource& plan, const PlanLimits& limits, uint64_t nr_metadata_blocks,
                         uint64_t most_blocks)
    : limits_(limits),
      end_block_(limits.block_size.blocks_holding(limits.end)),
      bits_(std::min(end_block_, most_blocks)),
      memory_(std::max<uint64_t>(1, words_of(bits_)) * sizeof(uint64_t)),
      nodes_(nr_metadata_blocks) {
  for (Run run; plan.next(run);) add_run(run);
  if (has_all_bits()) count_bits();
}

void PlannedTree::add_run(const Run& run) {
  const uint64_t end = run.thin.value() + run.blocks;
  planned_blocks_ += run.blocks;
  for (uint64_t key = run.thin.value(); key < std::min(end, bits_); ++key)
    word(key / 64) |= uint64_t{1} << (key % 64);
  if (end > bits_) planned_past_bits_ += end - std::max(bits_, run.thin.value());
}

void PlannedTree::add_leaf(MetadataBlock leaf, std::span<const Mapping> mappings) {
  uint64_t planned = 0;
  uint64_t without_bit = 0;
  uint64_t number = 0;
  uint64_t bits = 0;
  const auto set_bits = [&] {
    // Two leaves may share a word, so set the bits atomically.
    if (bits != 0) std::atomic_ref(word(number)).fetch_or(bits, std::memory_order_relaxed);
  };
  for (const Mapping& mapping : mappings) {
    const uint64_t key = mapping.thin.value();
    if (key >= end_block_) break;  // keys rise
    if (!limits_.is_planned(mapping.thin, mapping.time)) continue;
    ++planned;
    if (key >= bits_) {
      ++without_bit;
      continue;
    }
    if (key / 64 != number) {
      set_bits();
      number = key / 64;
      bits = 0;
    }
    bits |= uint64_t{1} << (key % 64);
  }
  set_bits();
  below_[leaf.value()] = static_cast<uint32_t>(planned);
  planned_blocks_ += planned;
  planned_past_bits_ += without_bit;
}

void PlannedTree::finish(const LeafFinder& tree) {
  nodes_ = tree.visited();
  if (!has_all_bits()) return;
  count_bits();
  for (const LeafFinder::InnerNode& node : tree.inner_nodes())
    below_[node.block.value()] = static_cast<uint32_t>(count(node.first_key, node.end_key));
}

void PlannedTree::count_bits() {
  const uint64_t words = words_of(bits_);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < words; ++i) {
    if (i % kWordsCounted == 0) counts_.push_back(static_cast<uint32_t>(sum));
    sum += static_cast<uint64_t>(std::popcount(word(i)));
  }
  counts_.push_back(static_cast<uint32_t>(sum));
}

uint64_t PlannedTree::count_before(uint64_t thin_block) const {
  if (thin_block >= bits_) return counts_.back();
  const uint64_t last = thin_block / 64;
  const uint64_t counted = last / kWordsCounted;
  uint64_t sum = counts_[counted];
  for (uint64_t i = counted * kWordsCounted; i < last; ++i)
    sum += static_cast<uint64_t>(std::popcount(word(i)));
  const uint64_t below = (uint64_t{1} << (thin_block % 64)) - 1;
  return sum + static_cast<uint64_t>(std::popcount(word(last) & below));
}

}  // namespace extmerge
