// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/support/metadata_builder.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>

#include "persistent-data/node.h"
#include "persistent-data/superblock.h"

namespace extmerge {
namespace {

template <typename Value>
std::vector<unsigned char> bytes_of(const Value& value) {
  std::vector<unsigned char> bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

uint64_t pack(const BuiltMapping& mapping) { return (mapping.data << 24) | mapping.time; }

}  // namespace

MetadataBuilder::MetadataBuilder(uint64_t blocks, uint32_t data_block_sectors)
    : image_(blocks * kMetadataBlockSize), data_block_sectors_(data_block_sectors) {}

void MetadataBuilder::place_upwards_from(uint64_t block) {
  next_block_ = block;
  downwards_ = false;
}

void MetadataBuilder::place_downwards_from(uint64_t block) {
  next_block_ = block;
  downwards_ = true;
}

uint64_t MetadataBuilder::allocate() {
  const uint64_t allocated = next_block_;
  if (allocated == 0 || allocated >= image_.size() / kMetadataBlockSize)
    throw std::length_error("MetadataBuilder: the image is too small");
  next_block_ = downwards_ ? allocated - 1 : allocated + 1;
  return allocated;
}

uint64_t MetadataBuilder::add_node(uint32_t flags, uint32_t value_size, const Entry* entries,
                                   size_t count) {
  const uint64_t number = allocate();
  DiskNodeHeader& head = header(number);
  head.flags.set(flags);
  head.blocknr.set(number);
  head.nr_entries.set(static_cast<uint32_t>(count));
  head.max_entries.set(max_entries_of(value_size));
  head.value_size.set(value_size);
  for (uint32_t i = 0; i < count; ++i) {
    key(number, i).set(entries[i].key);
    std::memcpy(&value(number, i), entries[i].value.data(), value_size);
  }
  fix_checksum(number);
  return number;
}

BuiltTree MetadataBuilder::add_entries(const std::vector<Entry>& entries, uint32_t value_size,
                                       const TreeShape& shape) {
  BuiltTree tree;
  tree.entries = entries.size();
  std::vector<Entry> level = entries;
  uint32_t flags = kFlagLeaf;
  size_t fill = std::min(shape.leaf_fill, max_entries_of(value_size));
  do {
    std::vector<uint64_t> blocks;
    std::vector<Entry> parents;
    size_t at = 0;
    do {  // once also for no entries at all
      const size_t count = std::min(fill, level.size() - at);
      blocks.push_back(add_node(flags, value_size, level.data() + at, count));
      parents.push_back({count == 0 ? 0 : level[at].key, bytes_of(le64(blocks.back()))});
      at += count;
    } while (at < level.size());
    tree.levels.insert(tree.levels.begin(), std::move(blocks));
    level = std::move(parents);
    flags = kFlagInternal;
    value_size = sizeof(le64);
    fill = std::min(shape.inner_fill, max_entries_of(value_size));
  } while (tree.levels.front().size() > 1 ||
           (!entries.empty() && tree.levels.size() < shape.min_levels));
  return tree;
}

BuiltTree MetadataBuilder::add_tree(const std::vector<BuiltMapping>& mappings,
                                    const TreeShape& shape) {
  std::vector<Entry> entries;
  for (const BuiltMapping& mapping : mappings)
    entries.push_back({mapping.thin, bytes_of(le64(pack(mapping)))});
  return add_entries(entries, sizeof(le64), shape);
}

uint64_t MetadataBuilder::add_leaf(const std::vector<BuiltMapping>& mappings) {
  return add_tree(mappings).root();
}

uint64_t MetadataBuilder::add_inner_node(
    const std::vector<std::pair<uint64_t, uint64_t>>& key_and_child) {
  std::vector<Entry> entries;
  for (const auto& [first_key, child] : key_and_child)
    entries.push_back({first_key, bytes_of(le64(child))});
  return add_node(kFlagInternal, sizeof(le64), entries.data(), entries.size());
}

void MetadataBuilder::add_device(uint32_t id, const BuiltTree& tree) {
  add_mapping_root(id, tree.root());
  add_details(id, tree.entries);
}

void MetadataBuilder::add_mapping_root(uint64_t id, uint64_t root) {
  mapping_root_entries_.push_back({id, bytes_of(le64(root))});
}

void MetadataBuilder::add_details(uint64_t id, uint64_t mapped_blocks, uint64_t transaction_id,
                                  uint32_t creation_time, uint32_t snapshotted_time) {
  DiskDeviceDetails details;
  details.mapped_blocks.set(mapped_blocks);
  details.transaction_id.set(transaction_id);
  details.creation_time.set(creation_time);
  details.snapshotted_time.set(snapshotted_time);
  details_entries_.push_back({id, bytes_of(details)});
}

void MetadataBuilder::finish(bool hold) {
  const auto by_key = [](const Entry& a, const Entry& b) { return a.key < b.key; };
  std::sort(mapping_root_entries_.begin(), mapping_root_entries_.end(), by_key);
  std::sort(details_entries_.begin(), details_entries_.end(), by_key);
  mapping_roots_ = add_entries(mapping_root_entries_, sizeof(le64), device_shape_);
  details_ = add_entries(details_entries_, sizeof(DiskDeviceDetails), device_shape_);

  DiskSuperblock& live = superblock();
  live.magic.set(kSuperblockMagic);
  live.version.set(kThinVersion);
  live.time.set(11);
  live.trans_id.set(13);
  live.data_mapping_root.set(mapping_roots_.root());
  live.device_details_root.set(details_.root());
  live.data_block_size.set(data_block_sectors_);
  live.metadata_block_size.set(kMetadataBlockSize / kSectorSize);
  live.metadata_nr_blocks.set(image_.size() / kMetadataBlockSize);
  if (hold) {
    held_root_ = allocate();
    superblock(held_root_) = live;
    superblock(held_root_).blocknr.set(held_root_);
    fix_checksum(held_root_);
    live.held_root.set(held_root_);
  }
  live.data_space_map_root.nr_blocks.set(1);  // as tests have data devices of any size
  live.metadata_space_map_root.nr_blocks.set(image_.size() / kMetadataBlockSize);
  fix_checksum(0);
}

std::byte* MetadataBuilder::block(uint64_t number) {
  return image_.data() + number * kMetadataBlockSize;
}

DiskSuperblock& MetadataBuilder::superblock(uint64_t number) {
  return *reinterpret_cast<DiskSuperblock*>(block(number));
}

DiskNodeHeader& MetadataBuilder::header(uint64_t number) {
  return *reinterpret_cast<DiskNodeHeader*>(block(number));
}

le64& MetadataBuilder::key(uint64_t number, uint32_t i) {
  return reinterpret_cast<le64*>(block(number) + sizeof(DiskNodeHeader))[i];
}

le64& MetadataBuilder::value(uint64_t number, uint32_t i) {
  const DiskNodeHeader& head = header(number);
  return *reinterpret_cast<le64*>(
      reinterpret_cast<std::byte*>(&key(number, head.max_entries.get())) +
      size_t{head.value_size.get()} * i);
}

void MetadataBuilder::fix_checksum(uint64_t number) {
  const std::span<const std::byte> bytes(block(number), kMetadataBlockSize);
  const bool is_superblock = number == 0 || (held_root_ != 0 && number == held_root_);
  header(number).csum.set(is_superblock ? superblock_checksum(bytes) : node_checksum(bytes));
}

}  // namespace extmerge
