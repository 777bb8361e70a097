// SPDX-License-Identifier: GPL-3.0-or-later
//
// A thin pool on simulated disks that keeps times as the kernel does. A snapshot raises the pool's
// time. A write to a block that is older than the last snapshot of its thin goes to a new data
// block, with the pool's time; other writes go in place (drivers/md/dm-thin-metadata.c, dm-thin.c).
// Freed data blocks are used again at once, the lowest first, so that a wrong plan shows.
//
// The contents of a thin are computed from the mappings here, without code of the program.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "merge/job.h"
#include "tests/support/scene_custody.h"
#include "tests/support/simulated_world.h"

namespace extmerge {

class ThinPool {
 public:
  using Contents = std::vector<std::byte>;
  static constexpr uint64_t kBlockSize = 65536;

  // The origin has random contents; `origin_blocks` are of kBlockSize.
  ThinPool(SimulatedWorld& world, uint64_t origin_blocks, uint64_t data_blocks, uint64_t seed = 1,
           uint64_t block_size = kBlockSize);
  // Another pool, with thins over the same origin. The disks are called after `name`.
  ThinPool(SimulatedWorld& world, const ThinPool& beside, const std::string& name,
           uint64_t block_size, uint64_t data_blocks);

  // A thin over the origin.
  void create(uint32_t id);
  void snapshot(uint32_t id, uint32_t of);
  void remove(uint32_t id);
  bool has(uint32_t id) const { return thins_.contains(id); }
  // Writes 4 KiB of random bytes, or of zeros, somewhere in the block.
  void write(uint32_t id, uint64_t block, bool zeros = false);
  void discard(uint32_t id, uint64_t block);
  // Gives the block a new data block, as a write does that covers all of it. Returns its number.
  uint64_t provision(uint32_t id, uint64_t block);
  // Reverts a thin to its snapshot, which takes its place, as lvconvert --merge does: the id is the
  // snapshot's then.
  void revert(uint32_t id, uint32_t to);
  // All thins but their data, to be put back later, as from a backup of the metadata.
  struct Backup;
  std::shared_ptr<Backup> back_up() const;
  void restore(const Backup& backup);

  uint32_t time() const { return time_; }
  void set_time(uint32_t time) { time_ = time; }

  // Writes the metadata disk. Call it before a merge.
  void commit();
  Contents view(uint32_t id) const;
  uint64_t mapped_blocks(uint32_t id) const { return thins_.at(id).mappings.size(); }

  SimulatedDisk& origin() const { return *origin_; }
  SimulatedDisk& data() const { return *data_; }
  std::shared_ptr<SimulatedDisk> metadata() const { return metadata_; }
  uint64_t block_size() const { return block_size_; }
  // By default the origin's.
  Bytes thin_size() const { return thin_size_.value_or(origin_->size()); }
  void set_thin_size(Bytes size) { thin_size_ = size; }
  // Merges thin `id`, which is a freeze of `frozen_from` if that is given.
  Job job(std::shared_ptr<DurableDirectory> directory, uint32_t id,
          std::optional<uint32_t> frozen_from = {}) const;
  // The same for a copy to `target`. Opening the origin for writing throws.
  Job copy_job(std::shared_ptr<DurableDirectory> directory,
               const std::shared_ptr<SimulatedDisk>& target, bool whole, uint32_t id,
               std::optional<uint32_t> frozen_from = {}) const;

 private:
  struct Mapping {
    uint64_t data = 0;
    uint32_t time = 0;
  };
  struct Thin {
    uint32_t creation_time = 0;
    uint32_t snapshotted_time = 0;
    uint64_t transaction_id = 0;
    std::map<uint64_t, Mapping> mappings;
  };

  uint64_t allocate() const;
  Contents block_of(const Thin& thin, uint64_t block) const;

  const uint64_t block_size_;
  const uint64_t data_blocks_;
  SimulatedRandom random_;
  std::shared_ptr<SimulatedDisk> metadata_, data_, origin_;
  std::optional<Bytes> thin_size_;
  uint32_t time_ = 0;
  uint64_t transaction_id_ = 0;
  std::map<uint32_t, Thin> thins_;
  mutable std::vector<std::unique_ptr<SceneCustody>> custodies_;
};

struct ThinPool::Backup {
  uint32_t time;
  uint64_t transaction_id;
  std::map<uint32_t, Thin> thins;
};

}  // namespace extmerge
