// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/support/thin_pool.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "tests/support/merge_scene.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {

namespace {

constexpr uint64_t kMetadataBlocks = 256;

std::vector<std::byte> random_bytes(uint64_t size, SimulatedRandom& random) {
  std::vector<std::byte> bytes(size);
  for (uint64_t at = 0; at < size; at += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(&bytes[at], &word, sizeof word);
  }
  return bytes;
}

}  // namespace

ThinPool::ThinPool(SimulatedWorld& world, uint64_t origin_blocks, uint64_t data_blocks,
                   uint64_t seed, uint64_t block_size)
    : block_size_(block_size), data_blocks_(data_blocks), random_(seed) {
  metadata_ = std::make_shared<SimulatedDisk>(
      world, "/images/metadata", std::vector<std::byte>(kMetadataBlocks * kMetadataBlockSize));
  data_ = std::make_shared<SimulatedDisk>(world, "/images/data",
                                          std::vector<std::byte>(data_blocks * block_size));
  origin_ = std::make_shared<SimulatedDisk>(world, "/images/origin",
                                            random_bytes(origin_blocks * kBlockSize, random_));
}

ThinPool::ThinPool(SimulatedWorld& world, const ThinPool& beside, const std::string& name,
                   uint64_t block_size, uint64_t data_blocks)
    : block_size_(block_size),
      data_blocks_(data_blocks),
      random_(block_size),
      origin_(beside.origin_) {
  metadata_ =
      std::make_shared<SimulatedDisk>(world, "/images/" + name + "_metadata",
                                      std::vector<std::byte>(kMetadataBlocks * kMetadataBlockSize));
  data_ = std::make_shared<SimulatedDisk>(world, "/images/" + name + "_data",
                                          std::vector<std::byte>(data_blocks * block_size));
}

void ThinPool::create(uint32_t id) { thins_[id] = {time_, time_, ++transaction_id_, {}}; }

void ThinPool::snapshot(uint32_t id, uint32_t of) {
  ++time_;
  Thin& origin = thins_.at(of);
  origin.snapshotted_time = time_;
  thins_[id] = {time_, time_, ++transaction_id_, origin.mappings};
}

void ThinPool::remove(uint32_t id) {
  thins_.erase(id);
  ++transaction_id_;
}

uint64_t ThinPool::allocate() const {
  std::set<uint64_t> used;
  for (const auto& [id, thin] : thins_) {
    for (const auto& [block, mapping] : thin.mappings) used.insert(mapping.data);
  }
  for (uint64_t data = 0; data < data_blocks_; ++data) {
    if (!used.contains(data)) return data;
  }
  throw std::runtime_error("the simulated pool is full");
}

ThinPool::Contents ThinPool::block_of(const Thin& thin, uint64_t block) const {
  const auto found = thin.mappings.find(block);
  const bool is_mapped = found != thin.mappings.end();
  const uint64_t at = (is_mapped ? found->second.data : block) * block_size_;
  Contents contents;
  (is_mapped ? data_ : origin_)->look([&](std::span<const std::byte> bytes) {
    if (at >= bytes.size()) return;  // past the origin's end
    const auto from = bytes.subspan(at, std::min<uint64_t>(block_size_, bytes.size() - at));
    contents.assign(from.begin(), from.end());
  });
  contents.resize(block_size_);
  return contents;
}

void ThinPool::write(uint32_t id, uint64_t block, bool zeros) {
  constexpr uint64_t kUnit = 4096;
  Thin& thin = thins_.at(id);
  Contents contents = block_of(thin, block);
  const uint64_t at = random_below(random_, block_size_ / kUnit) * kUnit;
  const Contents bytes = zeros ? Contents(kUnit) : random_bytes(kUnit, random_);
  std::copy(bytes.begin(), bytes.end(), contents.begin() + static_cast<ptrdiff_t>(at));
  const auto found = thin.mappings.find(block);
  const bool in_place = found != thin.mappings.end() && found->second.time >= thin.snapshotted_time;
  if (!in_place) thin.mappings[block] = {allocate(), time_};
  data_->overwrite(Bytes(thin.mappings[block].data * block_size_), contents);
}

uint64_t ThinPool::provision(uint32_t id, uint64_t block) {
  const uint64_t data = allocate();
  thins_.at(id).mappings[block] = {data, time_};
  return data;
}

void ThinPool::discard(uint32_t id, uint64_t block) { thins_.at(id).mappings.erase(block); }

void ThinPool::revert(uint32_t id, uint32_t to) {
  thins_.erase(id);
  thins_.at(to).transaction_id = ++transaction_id_;
}

std::shared_ptr<ThinPool::Backup> ThinPool::back_up() const {
  return std::make_shared<Backup>(Backup{time_, transaction_id_, thins_});
}

void ThinPool::restore(const Backup& backup) {
  time_ = backup.time;
  transaction_id_ = backup.transaction_id;
  thins_ = backup.thins;
}

void ThinPool::commit() {
  MetadataBuilder pool(kMetadataBlocks, static_cast<uint32_t>(block_size_ / kSectorSize));
  for (const auto& [id, thin] : thins_) {
    std::vector<BuiltMapping> mappings;
    for (const auto& [block, mapping] : thin.mappings)
      mappings.push_back({block, mapping.data, mapping.time});
    const BuiltTree tree = pool.add_tree(mappings, {.leaf_fill = 5, .inner_fill = 3});
    pool.add_mapping_root(id, tree.root());
    pool.add_details(id, mappings.size(), thin.transaction_id, thin.creation_time,
                     thin.snapshotted_time);
  }
  pool.finish();
  for (const uint64_t block : {uint64_t{0}, pool.held_root()}) {
    pool.superblock(block).time.set(time_);
    pool.superblock(block).trans_id.set(transaction_id_);
    pool.fix_checksum(block);
  }
  metadata_->overwrite(Bytes(0), pool.image());
}

ThinPool::Contents ThinPool::view(uint32_t id) const {
  Contents view;
  for (uint64_t block = 0; view.size() < thin_size().value(); ++block) {
    const Contents part = block_of(thins_.at(id), block);
    view.insert(view.end(), part.begin(), part.end());
  }
  view.resize(thin_size().value());
  return view;
}

Job ThinPool::job(std::shared_ptr<DurableDirectory> directory, uint32_t id,
                  std::optional<uint32_t> frozen_from) const {
  SceneCustody& custody = *custodies_.emplace_back(std::make_unique<SceneCustody>());
  Job job = image_job(metadata_, data_, origin_, std::move(directory), "journal", custody);
  job.thin_id = ThinId{id};
  job.thin_size = thin_size();
  if (frozen_from) job.frozen_from = ThinId{*frozen_from};
  return job;
}

Job ThinPool::copy_job(std::shared_ptr<DurableDirectory> directory,
                       const std::shared_ptr<SimulatedDisk>& target, bool whole, uint32_t id,
                       std::optional<uint32_t> frozen_from) const {
  Job job = this->job(std::move(directory), id, frozen_from);
  job.copy = {job.origin, job.origin_path, whole};
  SceneCustody& custody = custody_of(job);
  job.origin =
      image_job(metadata_, data_, target, job.journal.directory, "journal", custody).origin;
  job.origin.inode = 4;
  job.origin.underlying_files = {{job.origin.file_system, job.origin.inode}};
  job.origin_path = target->name();
  custody.on_open = [target, origin = origin_, others = custody.on_open](
                        const DeviceFacts& facts, OpenMode mode,
                        Bytes ends) -> std::shared_ptr<BlockDevice> {
    if (facts.path != origin->name()) return others(facts, mode, ends);
    if (mode == OpenMode::kReadOnly) return origin;
    throw Error(MessageId::kInternal, facts.path + " was opened for writing",
                "a copy only reads the origin");
  };
  return job;
}

}  // namespace extmerge
