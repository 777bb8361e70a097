// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/node.h"

#include "io/checksum.h"

namespace extmerge {
namespace {

constexpr uint32_t kInternalValueSize = sizeof(le64);

// The fault in the header, in words; empty if it is sound and as expected.
std::string fault_in_header(std::span<const std::byte> block, const DiskNodeHeader& header,
                            const NodeExpectation& expected) {
  using std::to_string;
  const uint32_t checksum = node_checksum(block);
  if (header.csum.get() != checksum)
    return "the checksum of a B-tree node is " + to_string(header.csum.get()) +
           ", its bytes give " + to_string(checksum);
  if (header.blocknr.get() != expected.location.value())
    return "the node says that it is block " + to_string(header.blocknr.get());

  const uint32_t flags = header.flags.get();
  if (flags != kFlagInternal && flags != kFlagLeaf)
    return "the node's flags are " + to_string(flags) + ", neither an internal node's nor a leaf's";
  const bool leaf = flags == kFlagLeaf;
  if (leaf && expected.must_be_internal)
    return "a leaf where the tree's depth asks for an internal node";
  if (!leaf && expected.must_be_leaf)
    return "an internal node where the tree's depth asks for a leaf";

  const uint32_t value_size = header.value_size.get();
  if (value_size != (leaf ? expected.leaf_value_size : kInternalValueSize))
    return "the node's values have " + to_string(value_size) + " bytes";
  const uint32_t max_entries = header.max_entries.get();
  if (max_entries == 0 || max_entries % 3 != 0 || max_entries > max_entries_of(value_size))
    return "the node claims room for " + to_string(max_entries) + " entries";
  const uint32_t nr_entries = header.nr_entries.get();
  if (nr_entries > max_entries)
    return "the node claims " + to_string(nr_entries) + " entries with room for " +
           to_string(max_entries);
  if (nr_entries == 0 && !(leaf && expected.is_root)) return "the node is empty";
  return {};
}

std::string fault_in_keys(const Node& node, const NodeExpectation& expected) {
  using std::to_string;
  if (node.size() == 0) return {};
  for (uint32_t i = 1; i < node.size(); ++i)
    if (node.key(i) <= node.key(i - 1))
      return "key " + to_string(node.key(i)) + " follows key " + to_string(node.key(i - 1));
  // Keys rise, so all are in the range if the first and the last are.
  if (node.key(0) < expected.first_key)
    return "key " + to_string(node.key(0)) + " is below the " + to_string(expected.first_key) +
           " that the parent gives for its first";
  if (node.key(node.size() - 1) >= expected.end_key)
    return "key " + to_string(node.key(node.size() - 1)) + " is not below the " +
           to_string(expected.end_key) + " where the parent ends it";
  return {};
}

}  // namespace

DiskDeviceDetails Node::details(uint32_t i) const {
  return load<DiskDeviceDetails>(values_ + sizeof(DiskDeviceDetails) * i);
}

uint32_t node_checksum(std::span<const std::byte> block) {
  return crc32c(block.subspan(sizeof(le32))) ^ kNodeSalt;
}

Node check_node(std::span<const std::byte> block, const NodeExpectation& expectation) {
  const auto header = load<DiskNodeHeader>(block.data());
  std::string fault = fault_in_header(block, header, expectation);
  if (!fault.empty()) throw damaged(expectation.location, fault, expectation.device);

  Node node;
  node.leaf_ = header.flags.get() == kFlagLeaf;
  node.nr_entries_ = header.nr_entries.get();
  node.keys_ = block.data() + sizeof header;
  // The values begin behind the room for max_entries keys, not behind the used keys.
  node.values_ = node.keys_ + sizeof(le64) * header.max_entries.get();

  fault = fault_in_keys(node, expectation);
  if (!fault.empty()) throw damaged(expectation.location, fault, expectation.device);
  return node;
}

Error damaged(MetadataBlock block, const std::string& what, std::string_view device) {
  std::string place = "metadata block " + std::to_string(block.value());
  if (!device.empty()) place.append(" of ").append(device);
  return Error(MessageId::kMetadataDamaged, place + ": " + what,
               "check that this is the metadata device of the pool; if it is, deactivate the pool, "
               "check it with thin_check, and repair it with lvconvert --repair VG/POOL (without "
               "LVM: thin_repair into a new device); extmerge never repairs metadata");
}

}  // namespace extmerge
