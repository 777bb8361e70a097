// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/support/synthetic_tree.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <span>
#include <stdexcept>
#include <utility>

#include "persistent-data/node.h"
#include "persistent-data/superblock.h"

namespace extmerge {
namespace {

constexpr uint64_t kMappingRootsBlock = 1;
constexpr uint64_t kDetailsBlock = 2;
constexpr uint64_t kTreeBlock = 3;
constexpr uint32_t kFill = 252;
constexpr uint32_t kDetailsFill = 126;

DiskNodeHeader& header_of(std::byte* memory) { return *reinterpret_cast<DiskNodeHeader*>(memory); }

void begin_node(std::byte* memory, uint64_t number, uint32_t flags, uint64_t entries,
                uint32_t max_entries, uint32_t value_size) {
  std::memset(memory, 0, kMetadataBlockSize);
  DiskNodeHeader& header = header_of(memory);
  header.flags.set(flags);
  header.blocknr.set(number);
  header.nr_entries.set(static_cast<uint32_t>(entries));
  header.max_entries.set(max_entries);
  header.value_size.set(value_size);
}

void end_node(std::byte* memory) {
  header_of(memory).csum.set(node_checksum({memory, kMetadataBlockSize}));
}

// The step's inverse modulo `modulus`, by Euclid; both are below 2^23.
uint64_t inverse_of(uint64_t step, uint64_t modulus) {
  int64_t a = static_cast<int64_t>(step), b = static_cast<int64_t>(modulus);
  int64_t x = 1, y = 0;
  while (b != 0) {
    const int64_t quotient = a / b;
    a = std::exchange(b, a - quotient * b);
    x = std::exchange(y, x - quotient * y);
  }
  return static_cast<uint64_t>(x < 0 ? x + static_cast<int64_t>(modulus) : x);
}

}  // namespace

class SyntheticTree::Queue : public AsyncQueue {
 public:
  explicit Queue(const SyntheticTree& tree) : tree_(tree) {}

  void submit(std::span<IoRequest> requests) override {
    for (IoRequest& request : requests) request.result = carry_out(request);
  }
  void wait() override {}

 private:
  int64_t carry_out(const IoRequest& request) const {
    const uint64_t first = request.offset.value() / kMetadataBlockSize;
    const uint64_t count = request.memory.size() / kMetadataBlockSize;
    if (request.direction != Direction::kRead || request.offset.value() % kMetadataBlockSize != 0 ||
        request.memory.size() % kMetadataBlockSize != 0 || first + count > tree_.nr_blocks())
      return -EINVAL;
    for (uint64_t i = 0; i < count; ++i)
      tree_.make_block(first + i, request.memory.data() + i * kMetadataBlockSize);
    return static_cast<int64_t>(request.memory.size());
  }

  const SyntheticTree& tree_;
};

SyntheticTree::SyntheticTree(uint64_t mappings, LeafPlacement placement) : mappings_(mappings) {
  uint64_t span = kFill;
  uint64_t nodes = (mappings + kFill - 1) / kFill;
  levels_.push_back({0, nodes, span});
  while (nodes > 1) {
    span *= kFill;
    nodes = (nodes + kFill - 1) / kFill;
    levels_.insert(levels_.begin(), {0, nodes, span});
  }
  nr_blocks_ = kTreeBlock;
  for (Level& level : levels_) {
    level.first_block = nr_blocks_;
    nr_blocks_ += level.nodes;
  }
  if (placement == LeafPlacement::kShuffled) {
    const uint64_t leaves = levels_.back().nodes;
    // Near the golden ratio, which keeps all multiples well apart.
    step_ = std::max<uint64_t>(1, leaves * 618 / 1000);
    while (std::gcd(step_, leaves) != 1) ++step_;
    inverse_ = inverse_of(step_, leaves);
  }
}

uint64_t SyntheticTree::place_of_leaf(uint64_t leaf) const {
  return leaf * step_ % levels_.back().nodes;
}

uint64_t SyntheticTree::leaf_at_place(uint64_t place) const {
  return place * inverse_ % levels_.back().nodes;
}

std::unique_ptr<AsyncQueue> SyntheticTree::make_queue(unsigned) {
  return std::make_unique<Queue>(*this);
}

void SyntheticTree::resize(Bytes) { throw std::logic_error("SyntheticTree::resize"); }

void SyntheticTree::make_block(uint64_t number, std::byte* memory) const {
  if (number == 0)
    make_superblock(memory);
  else if (number < kTreeBlock)
    make_device_tree(number, memory);
  else
    make_tree_node(number, memory);
}

void SyntheticTree::make_superblock(std::byte* memory) const {
  std::memset(memory, 0, kMetadataBlockSize);
  DiskSuperblock& disk = *reinterpret_cast<DiskSuperblock*>(memory);
  disk.magic.set(kSuperblockMagic);
  disk.version.set(kThinVersion);
  disk.data_mapping_root.set(kMappingRootsBlock);
  disk.device_details_root.set(kDetailsBlock);
  disk.data_block_size.set(128);
  disk.metadata_block_size.set(kMetadataBlockSize / kSectorSize);
  disk.metadata_nr_blocks.set(nr_blocks_);
  disk.csum.set(superblock_checksum({memory, kMetadataBlockSize}));
}

void SyntheticTree::make_device_tree(uint64_t number, std::byte* memory) const {
  const bool is_details = number == kDetailsBlock;
  const uint32_t room = is_details ? kDetailsFill : kFill;
  begin_node(memory, number, kFlagLeaf, 1, room,
             is_details ? sizeof(DiskDeviceDetails) : sizeof(le64));
  le64* keys = reinterpret_cast<le64*>(memory + sizeof(DiskNodeHeader));
  keys[0].set(kThinId);
  // Both kinds of values begin with this number.
  keys[room].set(is_details ? mappings_ : kTreeBlock);
  end_node(memory);
}

void SyntheticTree::make_tree_node(uint64_t number, std::byte* memory) const {
  size_t depth = levels_.size() - 1;
  while (number < levels_[depth].first_block) --depth;
  const Level& level = levels_[depth];
  const bool is_leaf = depth + 1 == levels_.size();
  const uint64_t place = number - level.first_block;
  const uint64_t node = is_leaf ? leaf_at_place(place) : place;

  const uint64_t below = is_leaf ? mappings_ : levels_[depth + 1].nodes;
  const uint64_t first = node * kFill;
  const uint64_t entries = std::min<uint64_t>(kFill, below - first);
  begin_node(memory, number, is_leaf ? kFlagLeaf : kFlagInternal, entries, kFill, sizeof(le64));
  le64* keys = reinterpret_cast<le64*>(memory + sizeof(DiskNodeHeader));
  le64* values = keys + kFill;
  const bool above_leaves = depth + 2 == levels_.size();
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t child = first + i;
    if (is_leaf) {
      keys[i].set(child);
      values[i].set((mappings_ - 1 - child) << 24);
    } else {
      const Level& lower = levels_[depth + 1];
      keys[i].set(child * lower.span);
      values[i].set(lower.first_block + (above_leaves ? place_of_leaf(child) : child));
    }
  }
  end_node(memory);
}

}  // namespace extmerge
