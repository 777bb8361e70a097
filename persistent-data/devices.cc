// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/devices.h"

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

std::vector<MappingRoot> read_mapping_roots(MetadataReader& reader, MetadataBlock root) {
  std::vector<MappingRoot> roots;
  LeafFinder leaves(reader, root, kRootSize);
  while (const auto leaf = leaves.next()) {
    const Node node = check_node(reader.read(leaf->location), *leaf);
    for (uint32_t i = 0; i < node.size(); ++i) {
      check_id(node.key(i), *leaf);
      roots.push_back({node.key(i), node.child(i)});
    }
  }
  return roots;
}

}  // namespace

std::vector<ThinDevice> read_devices(MetadataReader& reader, const Superblock& superblock) {
  const std::vector<MappingRoot> roots = read_mapping_roots(reader, superblock.data_mapping_root);
  std::vector<ThinDevice> devices;
  devices.reserve(roots.size());

  // Both trees are in order of id, so the device that one of them lacks shows
  // as the lower of two different ids.
  LeafFinder leaves(reader, superblock.device_details_root, kDetailsSize);
  while (const auto leaf = leaves.next()) {
    const Node node = check_node(reader.read(leaf->location), *leaf);
    for (uint32_t i = 0; i < node.size(); ++i) {
      const uint64_t id = node.key(i);
      check_id(id, *leaf);
      if (devices.size() == roots.size() || id < roots[devices.size()].id)
        throw without_mappings(reader, superblock.data_mapping_root, id);
      const MappingRoot& entry = roots[devices.size()];
      if (entry.id < id) throw without_details(reader, superblock.device_details_root, entry.id);
      devices.push_back(to_device(id, entry.root, node.details(i)));
    }
  }
  if (devices.size() < roots.size())
    throw without_details(reader, superblock.device_details_root, roots[devices.size()].id);
  return devices;
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
