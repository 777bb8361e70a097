// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reads many metadata blocks as fast as the device allows, in any order. In an aged pool the leaves
// of a tree lie in random places. Reading them in the order of keys takes four times as long as
// from the device's start to its end.
//
// Method: blocks are sorted by place, neighbours are joined, and batches of 256 blocks are made. A
// few threads read the batches and pass the blocks to the visitor. Each thread reads with pread(2).
// For thousands of blocks without neighbours, each thread uses a queue of its own. Fewer blocks are
// not worth the 30 to 40 ms that destroying a queue takes. Memory: 1 MiB a thread, and 12 bytes a
// block while it is swept.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "io/block_device.h"
#include "io/buffer.h"

namespace extmerge {

// Adds the read of one block to `requests`. The last request grows if it ends just before the
// block, on the device and in memory.
void add_block_read(std::vector<IoRequest>& requests, MetadataBlock block,
                    std::span<std::byte> memory);

class BlockSweep {
 public:
  static constexpr unsigned kWorkers = 8;

  // Calls with the same `worker` (below kWorkers) never overlap; those with different ones may.
  // `index` is the block's place in the argument of run(). May throw.
  using Visit =
      std::function<void(unsigned worker, size_t index, std::span<const std::byte> block)>;

  // `device` must outlive the sweep.
  explicit BlockSweep(BlockDevice& device) : device_(device) {}

  // Visits every block once. All blocks must lie inside the device. Throws kReadFailed, or the
  // exception of `visit`: of several failures the first one on the device. A failure ends the
  // visits. One sweep at a time.
  void run(std::span<const MetadataBlock> blocks, const Visit& visit);

 private:
  struct Worker;
  class Batches;

  BlockDevice& device_;
  Buffer memory_;
};

}  // namespace extmerge
