// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/metadata_reader.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "io/error.h"
#include "io/transfer.h"
#include "persistent-data/node.h"

namespace extmerge {
namespace {

constexpr unsigned kSuperblockReads = 5;
constexpr std::chrono::milliseconds kBetweenReads{10};

Bytes offset_of(MetadataBlock b) { return Bytes(b.value() * kMetadataBlockSize); }

}  // namespace

MetadataReader::MetadataReader(BlockDevice& device)
    : device_(device),
      nr_blocks_(std::min(device.size().value() / kMetadataBlockSize, kMaxMetadataBlocks)),
      queue_(device.make_queue(1)),
      sweep_(device),
      buffer_(kMetadataBlockSize) {
  if (nr_blocks_ == 0)
    throw damaged(MetadataBlock(0),
                  "the device has only " + std::to_string(device.size().value()) +
                      " bytes, less than a superblock",
                  device.name());
}

std::span<const std::byte> MetadataReader::read(MetadataBlock b) {
  if (b.value() >= nr_blocks_)
    throw damaged(b, "it lies outside the device of " + std::to_string(nr_blocks_) + " blocks",
                  device_.name());
  read_fully(device_, *queue_, offset_of(b), buffer_.span());
  return buffer_.span();
}

AsyncQueue& MetadataReader::batch_queue() {
  if (batches_ < kShortBatches) {
    ++batches_;
    if (!short_queue_) short_queue_ = device_.make_short_queue();
    return *short_queue_;
  }
  if (!batch_queue_) batch_queue_ = device_.make_queue(kBatchDepth);
  return *batch_queue_;
}

Superblock MetadataReader::live_superblock() {
  const MetadataBlock location(0);
  std::vector<std::byte> before;
  bool changes = false;
  for (unsigned attempt = 0; attempt < kSuperblockReads; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(kBetweenReads);
    const std::span<const std::byte> block = read(location);
    if (superblock_is_whole(block, location))
      return check_superblock(block, location, nr_blocks_, device_.name());
    changes |= attempt > 0 && !std::equal(block.begin(), block.end(), before.begin());
    before.assign(block.begin(), block.end());
  }
  if (changes)
    throw Error(MessageId::kMetadataBusy,
                "the superblock of " + device_.name() + " was being written at each of " +
                    std::to_string(kSuperblockReads) + " reads",
                "the pool is active and busy: read a metadata snapshot instead of its live "
                "metadata, or deactivate the pool, and run the same command again");
  // The same wrong bytes each time are no write under way. This call throws.
  return check_superblock(before, location, nr_blocks_, device_.name());
}

Superblock MetadataReader::held_superblock(MetadataBlock held_root) {
  if (held_root.value() == 0)
    throw Error(MessageId::kNoMetadataSnapshot,
                "no metadata snapshot is held in the pool metadata on " + device_.name(),
                "reserve one (dmsetup message POOL 0 reserve_metadata_snap), or deactivate the "
                "pool and read its live metadata with --live-root");
  return check_superblock(read(held_root), held_root, nr_blocks_, device_.name());
}

}  // namespace extmerge
