// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reads 4096-byte blocks of the metadata device, past the page cache: a pool
// that is live writes around it, and a buffered read would go on showing an
// old superblock for as long as the pool keeps the device open.

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
  // False if it was there already.
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

  // A queue for walks to read many blocks at once, made when it is first asked
  // for. All walks of a reader share it, since taking a kernel AIO context down
  // takes some 30 ms and there may be a thousand walks: whoever waits on it also
  // waits for what another walk of this thread has under way.
  AsyncQueue& batch_queue();
  static constexpr unsigned kBatchDepth = 256;

  // Reads many blocks, in whatever order is fastest (persistent-data/block_sweep.h).
  void sweep(std::span<const MetadataBlock> blocks, const BlockSweep::Visit& visit) {
    sweep_.run(blocks, visit);
  }

  // Block 0; read again a few times, some milliseconds apart, if it is torn.
  // Torn every time and differently: kMetadataBusy; the same every time:
  // kMetadataDamaged.
  Superblock live_superblock();
  // The copy at `held_root`; kNoMetadataSnapshot if that is 0.
  Superblock held_superblock(MetadataBlock held_root);

 private:
  BlockDevice& device_;
  uint64_t nr_blocks_;
  std::unique_ptr<AsyncQueue> queue_;
  std::unique_ptr<AsyncQueue> batch_queue_;
  BlockSweep sweep_;
  Buffer buffer_;
};

}  // namespace extmerge
