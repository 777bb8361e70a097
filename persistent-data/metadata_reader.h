// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reads metadata blocks without the page cache. A live pool writes around the cache. So a buffered
// read would show an old superblock as long as the pool keeps the device open.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "io/block_device.h"
#include "io/buffer.h"
#include "persistent-data/block_sweep.h"
#include "persistent-data/disk_format.h"
#include "persistent-data/superblock.h"

namespace extmerge {

// One bit per metadata block: 520 KB for the largest device there is.
class BlockSet {
 public:
  explicit BlockSet(uint64_t blocks) : bits_((blocks + 63) / 64) {}
  bool contains(MetadataBlock b) const { return (bits_[b.value() / 64] >> (b.value() % 64)) & 1; }
  // False if the block is in the set already.
  bool insert(MetadataBlock b) {
    uint64_t& word = bits_[b.value() / 64];
    const uint64_t bit = uint64_t{1} << (b.value() % 64);
    const bool fresh = !(word & bit);
    word |= bit;
    return fresh;
  }

 private:
  std::vector<uint64_t> bits_;
};

class MetadataReader {
 public:
  // `device` must outlive the reader. Throws Error(kMetadataDamaged) for a
  // device too small to hold a superblock.
  explicit MetadataReader(BlockDevice& device);

  uint64_t nr_blocks() const { return nr_blocks_; }  // at most kMaxMetadataBlocks
  BlockDevice& device() const { return device_; }

  // One block, valid until the next call. Throws kMetadataDamaged if `b` lies
  // outside the device, kReadFailed.
  std::span<const std::byte> read(MetadataBlock b);

  // A queue for one batch of blocks that are read at once. All walks of a reader share the queues:
  // there may be a thousand walks. So a wait() also waits for requests of other walks of this
  // thread. The first batches have a short queue: a deep one makes the program's end take some 30
  // ms longer.
  AsyncQueue& batch_queue();
  static constexpr unsigned kBatchDepth = 256;
  static constexpr unsigned kShortBatches = 16;  // of 256 blocks

  // Reads many blocks in the fastest order (persistent-data/block_sweep.h).
  void sweep(std::span<const MetadataBlock> blocks, const BlockSweep::Visit& visit) {
    sweep_.run(blocks, visit);
  }

  // Block 0. A torn one is read again a few times, some milliseconds apart. Throws kMetadataBusy if
  // it is torn differently each time, kMetadataDamaged if it is the same each time.
  Superblock live_superblock();
  // The superblock of the metadata snapshot at `held_root`; kNoMetadataSnapshot if that is 0.
  Superblock held_superblock(MetadataBlock held_root);

 private:
  BlockDevice& device_;
  uint64_t nr_blocks_;
  std::unique_ptr<AsyncQueue> queue_;
  std::unique_ptr<AsyncQueue> short_queue_, batch_queue_;
  unsigned batches_ = 0;
  BlockSweep sweep_;
  Buffer buffer_;
};

}  // namespace extmerge
