// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/mapping_walk.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>

#include "io/transfer.h"

namespace extmerge {
namespace {

constexpr uint32_t kMappingSize = sizeof(le64);
constexpr size_t kBatchLeaves = 256;
constexpr size_t kLeafBatchBytes = kBatchLeaves * kMetadataBlockSize;  // and so the largest request

// Leaves in order of keys. Their blocks lie in memory in order of block number.
struct Batch {
  std::vector<NodeExpectation> leaves;
  std::vector<uint32_t> slot;  // of leaves[i] in `memory`
  std::vector<IoRequest> requests;
  std::span<std::byte> memory;
  size_t next = 0;  // the leaf to decode

  bool is_decoded() const { return next == leaves.size(); }
  std::span<std::byte> block(size_t leaf) const {
    return memory.subspan(slot[leaf] * kMetadataBlockSize, kMetadataBlockSize);
  }
};

// Gives every leaf its slot, and makes one request for each row of neighbours.
void lay_out(Batch& batch) {
  std::vector<uint32_t> by_block(batch.leaves.size());
  std::iota(by_block.begin(), by_block.end(), 0u);
  std::sort(by_block.begin(), by_block.end(), [&](uint32_t a, uint32_t b) {
    return batch.leaves[a].location < batch.leaves[b].location;
  });

  batch.slot.resize(by_block.size());
  batch.requests.clear();
  for (uint32_t slot = 0; slot < by_block.size(); ++slot) {
    const uint32_t leaf = by_block[slot];
    batch.slot[leaf] = slot;
    add_block_read(batch.requests, batch.leaves[leaf].location, batch.block(leaf));
  }
}

}  // namespace

class MappingWalk::Impl {
 public:
  Impl(MetadataReader& reader, MetadataBlock root, const MappingWalkOptions& options)
      : reader_(reader),
        options_(options),
        finder_(reader, root, kMappingSize, options.skip, options.skipped) {}

  // Wait: the kernel may still be writing into the buffer.
  ~Impl() {
    if (in_flight_) in_flight_->wait();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::span<const Mapping> next();
  uint64_t delivered() const { return delivered_; }
  const BlockSet& visited() const { return finder_.visited(); }

 private:
  void advance();
  void gather(Batch& batch);
  void start(Batch& batch);
  void finish(Batch& batch);

  MetadataReader& reader_;
  const MappingWalkOptions options_;
  LeafFinder finder_;
  Buffer buffer_;
  std::array<Batch, 2> batches_;  // one being decoded, the other in flight or empty
  size_t current_ = 0;
  AsyncQueue* in_flight_ = nullptr;  // the queue of the batch in flight, if there is one
  std::vector<Mapping> mappings_;
  uint64_t delivered_ = 0;
};

std::span<const Mapping> MappingWalk::Impl::next() {
  if (options_.inner_nodes_only) {
    while (finder_.next()) {
    }
    return {};
  }
  mappings_.clear();
  while (mappings_.empty()) {  // the leaf of an empty tree has none
    while (batches_[current_].is_decoded()) {
      advance();
      if (batches_[0].leaves.empty() && batches_[1].leaves.empty()) return {};
    }
    Batch& batch = batches_[current_];
    decode_leaf(batch.block(batch.next), batch.leaves[batch.next], options_.end_of_data, mappings_);
    ++batch.next;
  }
  delivered_ += mappings_.size();
  return mappings_;
}

// Replaces the decoded batch by the one in flight.
void MappingWalk::Impl::advance() {
  Batch& done = batches_[current_];
  Batch& coming = batches_[1 - current_];
  gather(done);  // reads inner nodes while `coming` is under way
  finish(coming);
  start(done);
  current_ = 1 - current_;
}

void MappingWalk::Impl::gather(Batch& batch) {
  batch.leaves.clear();
  batch.next = 0;
  while (batch.leaves.size() < kBatchLeaves) {
    const std::optional<NodeExpectation> leaf = finder_.next();
    if (!leaf) break;
    batch.leaves.push_back(*leaf);
  }
}

void MappingWalk::Impl::start(Batch& batch) {
  if (batch.leaves.empty()) return;
  if (buffer_.size() == 0) {  // only when it is needed: many walks read no leaf
    buffer_ = Buffer(2 * kLeafBatchBytes);
    batches_[0].memory = buffer_.span().first(kLeafBatchBytes);
    batches_[1].memory = buffer_.span().last(kLeafBatchBytes);
  }
  lay_out(batch);
  in_flight_ = &reader_.batch_queue();
  in_flight_->submit(batch.requests);
}

void MappingWalk::Impl::finish(Batch& batch) {
  if (!in_flight_) return;
  AsyncQueue& queue = *in_flight_;
  queue.wait();
  in_flight_ = nullptr;
  if (const auto failure = finish_transfer(reader_.device(), queue, batch.requests))
    throw io_error(reader_.device(), *failure);
}

// Thin blocks rise over the whole walk: check_node() checks them in a leaf, and the keys of each
// leaf lie in a range of its own.
void decode_leaf(std::span<const std::byte> block, const NodeExpectation& leaf,
                 DataBlock end_of_data, std::vector<Mapping>& mappings) {
  const Node node = check_node(block, leaf);
  mappings.resize(node.size());
  for (uint32_t i = 0; i < node.size(); ++i) {
    const uint64_t value = node.value64(i);
    const DataBlock data = unpack_data_block(value);
    if (data >= end_of_data)
      throw damaged(leaf.location,
                    "thin block " + std::to_string(node.key(i)) + " is mapped to data block " +
                        std::to_string(data.value()) + ", the data device ends at block " +
                        std::to_string(end_of_data.value()),
                    leaf.device);
    // Set each member: GCC 12 builds a whole Mapping on the stack, and the copy of it is slow.
    Mapping& mapping = mappings[i];
    mapping.thin = ThinBlock(node.key(i));
    mapping.data = data;
    mapping.time = unpack_time(value);
  }
}

MappingWalk::MappingWalk(MetadataReader& reader, MetadataBlock root,
                         const MappingWalkOptions& options)
    : impl_(std::make_unique<Impl>(reader, root, options)) {}

MappingWalk::~MappingWalk() = default;
MappingWalk::MappingWalk(MappingWalk&&) noexcept = default;

std::span<const Mapping> MappingWalk::next() { return impl_->next(); }

uint64_t MappingWalk::delivered() const { return impl_->delivered(); }

const BlockSet& MappingWalk::visited() const { return impl_->visited(); }

}  // namespace extmerge
