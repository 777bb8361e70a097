// SPDX-License-Identifier: GPL-3.0-or-later
//
// metadata_image: pool metadata for benchmarks, in files.
//
//   metadata_image make MAPPINGS ordered|shuffled FILE   one thin (id 1), single blocks
//   metadata_image thins COUNT FILE      that many thins (ids from 1) of one leaf each
//   metadata_image rounds MAPPINGS SNAPSHOTS FILE   a thin with one or two snapshots (make_rounds)
//   metadata_image siblings MAPPINGS COUNT FILE     a thin and that many siblings (make_siblings)
//   metadata_image shuffle FILE FILE     the same trees, with their leaves in random places
//   metadata_image walk FILE             seconds to read the nodes that thin 1 does not have, one
//                                        tree after the other, each node once
//
// Images by `make`, `thins`, `rounds` and `siblings` have no space maps: extmerge can read them,
// thin_ls cannot. `shuffle` takes an image by thin_restore and moves only the leaves of the thins.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "io/device_facts.h"
#include "io/file_device.h"
#include "persistent-data/btree.h"
#include "persistent-data/devices.h"
#include "persistent-data/mapping_walk.h"
#include "persistent-data/metadata_reader.h"
#include "persistent-data/node.h"
#include "tests/support/metadata_builder.h"
#include "tests/support/synthetic_tree.h"

namespace extmerge {
namespace {

using Blocks = std::vector<std::byte>;

void write_file(const std::string& path, const std::function<bool(Blocks&)>& next) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (Blocks blocks; next(blocks);)
    file.write(reinterpret_cast<const char*>(blocks.data()),
               static_cast<std::streamsize>(blocks.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

void make(uint64_t mappings, LeafPlacement placement, const std::string& path) {
  const SyntheticTree tree(mappings, placement);
  uint64_t number = 0;
  write_file(path, [&](Blocks& blocks) {
    const uint64_t count = std::min<uint64_t>(256, tree.nr_blocks() - number);
    blocks.resize(count * kMetadataBlockSize);
    for (uint64_t i = 0; i < count; ++i)
      tree.make_block(number + i, blocks.data() + i * kMetadataBlockSize);
    number += count;
    return count > 0;
  });
}

std::byte* block(Blocks& image, uint64_t number) {
  return image.data() + number * kMetadataBlockSize;
}

void reseal(std::byte* node, uint64_t number) {
  auto& header = *reinterpret_cast<DiskNodeHeader*>(node);
  header.blocknr.set(number);
  header.csum.set(node_checksum({node, kMetadataBlockSize}));
}

void write_image(const MetadataBuilder& pool, const std::string& path) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(pool.image().data()),
             static_cast<std::streamsize>(pool.image().size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

// A thin of ten blocks each. Thin 1 maps the blocks 0 to 9, each other one nine of these: it lacks
// block (id mod 10) and has block 10. Every tenth thin has all ten, so a merge of thin 1 changes
// nothing in it.
void make_thins(uint64_t count, const std::string& path) {
  constexpr uint64_t kMapped = 10;
  MetadataBuilder pool(count + count / 60 + 64);
  for (uint64_t id = 1; id <= count; ++id) {
    std::vector<BuiltMapping> mappings;
    for (uint64_t block = 0; block <= kMapped; ++block) {
      const uint64_t lacking = id == 1 || id % kMapped == 0 ? kMapped : id % kMapped;
      if (block != lacking) mappings.push_back({block, (id - 1) * kMapped + mappings.size()});
    }
    pool.add_device(static_cast<uint32_t>(id), pool.add_tree(mappings));
  }
  pool.finish();
  write_image(pool, path);
}

constexpr uint64_t kLeafEntries = 252;
constexpr uint64_t kChangedOneIn = 100;

// Chooses one block in each hundred, in a random place. Block 0 never changes.
bool changes(uint64_t block) {
  const uint64_t hundred = block / kChangedOneIn;
  return block > 0 &&
         block % kChangedOneIn == ((hundred * 0x9e3779b97f4a7c15) >> 32) % kChangedOneIn;
}

using Children = std::vector<std::pair<uint64_t, uint64_t>>;  // key and node

// The nodes above these; returns the root.
uint64_t add_above(MetadataBuilder& pool, Children children) {
  while (children.size() > 1) {
    Children above;
    for (size_t i = 0; i < children.size(); i += kLeafEntries) {
      const size_t end = std::min(i + kLeafEntries, children.size());
      const std::vector<std::pair<uint64_t, uint64_t>> part(
          children.begin() + static_cast<ptrdiff_t>(i),
          children.begin() + static_cast<ptrdiff_t>(end));
      above.emplace_back(children[i].first, pool.add_inner_node(part));
    }
    children = std::move(above);
  }
  return children.front().second;
}

// A thin (id 1) maps the blocks from 0 on, each a run. Snapshot 2 was taken when the pool's time
// became 1. Then the thin changed one block in a hundred. Snapshot 3 was taken when the time became
// 2. The snapshots share only leaves without changes, and 3 shares all of its tree with the thin.
// With one snapshot, this is the pool before the changes.
void make_rounds(uint64_t mappings, uint64_t snapshots, const std::string& path) {
  MetadataBuilder pool(2 * (mappings / kLeafEntries) * (kLeafEntries + 2) / kLeafEntries + 64);
  Children before, after;
  std::vector<BuiltMapping> leaf;
  for (uint64_t first = 0; first < mappings; first += kLeafEntries) {
    leaf.clear();
    for (uint64_t block = first; block < std::min(first + kLeafEntries, mappings); ++block)
      leaf.push_back({block, mappings - 1 - block, 0});
    before.emplace_back(first, pool.add_leaf(leaf));
  }
  uint64_t root = add_above(pool, before);
  pool.add_mapping_root(2, root);
  pool.add_details(2, mappings, 0, 1, 1);
  if (snapshots == 2) {
    uint64_t data = mappings;
    for (const auto& [first, unchanged] : before) {
      leaf.clear();
      const uint64_t changed_before = data;
      for (uint64_t block = first; block < std::min(first + kLeafEntries, mappings); ++block) {
        if (changes(block)) {
          leaf.push_back({block, data++, 1});
        } else {
          leaf.push_back({block, mappings - 1 - block, 0});
        }
      }
      after.emplace_back(first, data == changed_before ? unchanged : pool.add_leaf(leaf));
    }
    root = add_above(pool, after);
    pool.add_mapping_root(3, root);
    pool.add_details(3, mappings, 1, 2, 2);
  }
  pool.add_mapping_root(1, root);
  pool.add_details(1, mappings, 0, 0, static_cast<uint32_t>(snapshots));
  pool.finish(false);
  pool.superblock().time.set(static_cast<uint32_t>(snapshots));
  pool.superblock().trans_id.set(snapshots);
  pool.fix_checksum(0);
  write_image(pool, path);
}

// Thin 1 maps the blocks from 0 on. Siblings (ids from 2) share every other leaf with it, and the
// leaves between with each other. In each hundred leaves of a sibling one is its own: there it
// lacks a block. Without siblings, the leaves between are there as well, so that the tree of thin 1
// lies in the same places.
void make_siblings(uint64_t mappings, uint64_t count, const std::string& path) {
  const uint64_t leaves = (mappings + kLeafEntries - 1) / kLeafEntries;
  MetadataBuilder pool(2 * leaves + count * (leaves / kChangedOneIn + leaves / kLeafEntries + 8) +
                       count / 60 + leaves / 100 + 64);
  const auto leaf = [&](uint64_t number, uint64_t lacking = UINT64_MAX) {
    std::vector<BuiltMapping> entries;
    const uint64_t first = number * kLeafEntries;
    for (uint64_t block = first; block < std::min(first + kLeafEntries, mappings); ++block) {
      if (block != lacking) entries.push_back({block, block, 0});
    }
    return pool.add_leaf(entries);
  };
  Children own, common;
  for (uint64_t i = 0; i < leaves; ++i) {
    own.emplace_back(i * kLeafEntries, leaf(i));
    common.push_back(own.back());
    if (i % 2 == 1) common.back().second = leaf(i);
  }
  pool.add_mapping_root(1, add_above(pool, own));
  pool.add_details(1, mappings);
  for (uint64_t id = 2; id < count + 2; ++id) {
    Children children = common;
    uint64_t mapped = mappings;
    for (uint64_t i = id % kChangedOneIn; i < leaves; i += kChangedOneIn, --mapped)
      children[i].second = leaf(i, i * kLeafEntries + 1);
    pool.add_mapping_root(id, add_above(pool, children));
    pool.add_details(id, mapped);
  }
  pool.finish();
  write_image(pool, path);
}

void walk(const std::string& path) {
  const auto device = FileDevice::open(inspect(path), OpenMode::kReadOnly, Bytes(4096));
  MetadataReader reader(*device);
  BlockSet known(reader.nr_blocks());
  double seconds = 0;
  for (const ThinDevice& thin : read_devices(reader, reader.live_superblock())) {
    const auto start = std::chrono::steady_clock::now();
    MappingWalk tree(reader, thin.mapping_root, {.skip = &known});
    while (!tree.next().empty()) {
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (thin.id != ThinId{1}) seconds += took.count();
    for (uint64_t block = 0; block < reader.nr_blocks(); ++block)
      if (tree.visited().contains(MetadataBlock(block))) known.insert(MetadataBlock(block));
  }
  std::printf("%f\n", seconds);
}

// Changes the pointers in one node to the new places of the leaves.
void follow(Blocks& image, uint64_t number, const std::vector<uint64_t>& moved_to) {
  std::byte* const node = block(image, number);
  const auto& header = *reinterpret_cast<const DiskNodeHeader*>(node);
  auto* const values =
      reinterpret_cast<le64*>(node + sizeof(DiskNodeHeader)) + header.max_entries.get();
  for (uint32_t i = 0; i < header.nr_entries.get(); ++i) {
    const uint64_t child = values[i].get();
    if (moved_to[child] != 0) values[i].set(moved_to[child]);
  }
  reseal(node, number);
}

// Moves every leaf to the place of another one, and changes the nodes above.
void shuffle(const std::string& from, const std::string& to) {
  const auto device = FileDevice::open(inspect(from), OpenMode::kReadOnly, Bytes(4096));
  MetadataReader reader(*device);
  const Superblock superblock = reader.live_superblock();

  std::ifstream file(from, std::ios::binary);
  Blocks result(device->size().value());
  file.read(reinterpret_cast<char*>(result.data()), static_cast<std::streamsize>(result.size()));
  if (!file) throw std::runtime_error("cannot read " + from);
  const Blocks original = result;

  // Thins may share nodes. The nodes above the leaves have the pointers.
  BlockSet known(reader.nr_blocks());
  std::vector<uint64_t> leaves;
  std::vector<uint64_t> above;
  for (const ThinDevice& thin : read_devices(reader, superblock)) {
    LeafFinder finder(reader, thin.mapping_root, sizeof(le64), &known);
    std::vector<MetadataBlock> found;
    while (const auto leaf = finder.next()) found.push_back(leaf->location);
    for (const MetadataBlock leaf : found)
      if (known.insert(leaf)) leaves.push_back(leaf.value());
    for (const LeafFinder::InnerNode& node : finder.inner_nodes())
      if (known.insert(node.block)) above.push_back(node.block.value());
  }
  LeafFinder roots(reader, superblock.data_mapping_root, sizeof(le64));
  while (const auto leaf = roots.next()) above.push_back(leaf->location.value());

  std::vector<uint64_t> places = leaves;
  std::shuffle(places.begin(), places.end(), std::mt19937_64(1));
  std::vector<uint64_t> moved_to(original.size() / kMetadataBlockSize);  // 0: stays
  for (size_t i = 0; i < leaves.size(); ++i) {
    moved_to[leaves[i]] = places[i];
    std::copy_n(original.data() + leaves[i] * kMetadataBlockSize, kMetadataBlockSize,
                block(result, places[i]));
    reseal(block(result, places[i]), places[i]);
  }
  for (const uint64_t number : above) follow(result, number, moved_to);
  bool written = false;
  write_file(to, [&](Blocks& blocks) {
    if (written) return false;
    blocks = std::move(result);
    return written = true;
  });
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() == 4 && arguments[0] == "make") {
    make(std::stoull(arguments[1]),
         arguments[2] == "shuffled" ? LeafPlacement::kShuffled : LeafPlacement::kOrdered,
         arguments[3]);
    return 0;
  }
  if (arguments.size() == 3 && arguments[0] == "thins") {
    make_thins(std::stoull(arguments[1]), arguments[2]);
    return 0;
  }
  if (arguments.size() == 4 && arguments[0] == "rounds") {
    make_rounds(std::stoull(arguments[1]), std::stoull(arguments[2]), arguments[3]);
    return 0;
  }
  if (arguments.size() == 4 && arguments[0] == "siblings") {
    make_siblings(std::stoull(arguments[1]), std::stoull(arguments[2]), arguments[3]);
    return 0;
  }
  if (arguments.size() == 2 && arguments[0] == "walk") {
    walk(arguments[1]);
    return 0;
  }
  if (arguments.size() == 3 && arguments[0] == "shuffle") {
    shuffle(arguments[1], arguments[2]);
    return 0;
  }
  std::fputs("usage: see the head of metadata_image.cc\n", stderr);
  return 1;
}

}  // namespace
}  // namespace extmerge

int main(int argc, char** argv) {
  try {
    return extmerge::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "metadata_image: %s\n", error.what());
    return 1;
  }
}
