// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reads many blocks of the metadata device as fast as it gives them, for whoever does not
// mind the order. In the order of a tree's keys the leaves of a pool that has aged lie in
// random places, and reading them one by one takes four times as long as reading them from
// the device's start to its end.
//
// Method: sorted by place, neighbours joined, cut into batches of 256 blocks, which a few
// threads read and hand over. Each thread reads with pread(2); only where there are
// thousands of blocks that have no neighbours does each use a queue of its own, since
// taking one down costs 30 to 40 ms.
// Memory: 1 MiB a thread, and 12 bytes a block while it is swept.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "io/block_device.h"
#include "io/buffer.h"

namespace extmerge {

// Adds the reading of one block to `requests`: as part of the last one, where that ends
// just before, on the device and in memory.
void add_block_read(std::vector<IoRequest>& requests, MetadataBlock block,
                    std::span<std::byte> memory);

class BlockSweep {
 public:
  static constexpr unsigned kWorkers = 8;

  // Of `worker` (below kWorkers) there is one call at a time, of different ones several.
  // `index` is the block's place in what run() was given. May throw.
  using Visit =
      std::function<void(unsigned worker, size_t index, std::span<const std::byte> block)>;

  // `device` must outlive it.
  explicit BlockSweep(BlockDevice& device) : device_(device) {}

  // Visits every block once. The blocks lie inside the device. Throws kReadFailed and what
  // `visit` throws: of several failures the one that lies first on the device; nothing is
  // visited any more then. One sweep at a time.
  void run(std::span<const MetadataBlock> blocks, const Visit& visit);

 private:
  struct Worker;
  class Batches;

  BlockDevice& device_;
  Buffer memory_;
};

}  // namespace extmerge
