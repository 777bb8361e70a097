// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/devices.h"

#include <algorithm>
#include <string>

#include "persistent-data/btree.h"

namespace extmerge {
namespace {

constexpr uint32_t kRootSize = sizeof(le64);
constexpr uint32_t kDetailsSize = sizeof(DiskDeviceDetails);

struct MappingRoot {
  uint64_t id = 0;
  MetadataBlock root;
};

ThinDevice to_device(uint64_t id, MetadataBlock mapping_root, const DiskDeviceDetails& details) {
  ThinDevice device;
  device.id = ThinId(static_cast<uint32_t>(id));
  device.mapping_root = mapping_root;
  device.mapped_blocks = details.mapped_blocks.get();
  device.transaction_id = details.transaction_id.get();
  device.creation_time = details.creation_time.get();
  device.snapshotted_time = details.snapshotted_time.get();
  return device;
}

void check_id(uint64_t id, const NodeExpectation& leaf) {
  if (id > kMaxThinId)
    throw damaged(leaf.location, "thin device id " + std::to_string(id) + " has more than 24 bits",
                  leaf.device);
}

Error without_details(const MetadataReader& reader, MetadataBlock details_root, uint64_t id) {
  return damaged(details_root,
                 "thin device " + std::to_string(id) +
                     " has a mapping tree and no entry in the tree of details that starts here",
                 reader.device().name());
}

Error without_mappings(const MetadataReader& reader, MetadataBlock mapping_root, uint64_t id) {
  return damaged(mapping_root,
                 "thin device " + std::to_string(id) +
                     " has details and no entry in the tree of mapping trees that starts here",
                 reader.device().name());
}

// Reads the leaves of one of the two trees in the order of places on the device. `take` is called
// once for each leaf, from several threads, with the leaf's number in order of keys.
template <typename Take>
void sweep_leaves(MetadataReader& reader, const std::vector<NodeExpectation>& leaves,
                  const Take& take) {
  std::vector<MetadataBlock> blocks;
  blocks.reserve(leaves.size());
  for (const NodeExpectation& leaf : leaves) blocks.push_back(leaf.location);
  reader.sweep(blocks, [&](unsigned, size_t number, std::span<const std::byte> block) {
    const Node node = check_node(block, leaves[number]);
    for (uint32_t i = 0; i < node.size(); ++i) check_id(node.key(i), leaves[number]);
    take(number, node);
  });
}

std::vector<NodeExpectation> find_leaves(MetadataReader& reader, MetadataBlock root,
                                         uint32_t value_size) {
  std::vector<NodeExpectation> leaves;
  LeafFinder finder(reader, root, value_size);
  while (const auto leaf = finder.next()) leaves.push_back(*leaf);
  return leaves;
}

// Collects the entries of one tree in order of id.
template <typename Entry, typename Make>
std::vector<Entry> read_entries(MetadataReader& reader, MetadataBlock root, uint32_t value_size,
                                const Make& make) {
  const std::vector<NodeExpectation> leaves = find_leaves(reader, root, value_size);
  std::vector<std::vector<Entry>> by_leaf(leaves.size());
  sweep_leaves(reader, leaves, [&](size_t number, const Node& node) {
    by_leaf[number].reserve(node.size());
    for (uint32_t i = 0; i < node.size(); ++i) by_leaf[number].push_back(make(node, i));
  });
  std::vector<Entry> entries;
  for (std::vector<Entry>& some : by_leaf) {
    entries.insert(entries.end(), some.begin(), some.end());
    some = {};
  }
  return entries;
}

}  // namespace

std::vector<ThinDevice> read_devices(MetadataReader& reader, const Superblock& superblock) {
  const auto roots = read_entries<MappingRoot>(reader, superblock.data_mapping_root, kRootSize,
                                               [](const Node& node, uint32_t i) {
                                                 return MappingRoot{node.key(i), node.child(i)};
                                               });
  auto devices = read_entries<ThinDevice>(
      reader, superblock.device_details_root, kDetailsSize, [](const Node& node, uint32_t i) {
        return to_device(node.key(i), MetadataBlock(0), node.details(i));
      });

  // Both trees are in order of id. So of two different ids, the lower one is missing in the other
  // tree.
  for (size_t i = 0; i < std::max(roots.size(), devices.size()); ++i) {
    const uint64_t with_root = i < roots.size() ? roots[i].id : UINT64_MAX;
    const uint64_t with_details = i < devices.size() ? value(devices[i].id) : UINT64_MAX;
    if (with_details < with_root)
      throw without_mappings(reader, superblock.data_mapping_root, with_details);
    if (with_root < with_details)
      throw without_details(reader, superblock.device_details_root, with_root);
    devices[i].mapping_root = roots[i].root;
  }
  return devices;
}

const ThinDevice* device_of(const std::vector<ThinDevice>& devices, ThinId id) {
  const auto found = std::ranges::lower_bound(devices, id, {}, &ThinDevice::id);
  return found == devices.end() || found->id != id ? nullptr : &*found;
}

std::optional<ThinDevice> find_device(MetadataReader& reader, const Superblock& superblock,
                                      ThinId id) {
  std::optional<MetadataBlock> mapping_root;
  if (const auto entry = find_entry(reader, superblock.data_mapping_root, kRootSize, value(id)))
    mapping_root = entry->node.child(entry->index);
  const auto details = find_entry(reader, superblock.device_details_root, kDetailsSize, value(id));
  if (!mapping_root && !details) return std::nullopt;
  if (!details) throw without_details(reader, superblock.device_details_root, value(id));
  if (!mapping_root) throw without_mappings(reader, superblock.data_mapping_root, value(id));
  return to_device(value(id), *mapping_root, details->node.details(details->index));
}

}  // namespace extmerge
