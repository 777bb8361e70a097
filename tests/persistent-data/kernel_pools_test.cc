// SPDX-License-Identifier: GPL-3.0-or-later
//
// Metadata by a real kernel: all devices and mappings must equal those of thin_dump in the same
// metadata snapshot.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "persistent-data/devices.h"
#include "tests/persistent-data/walks.h"
#include "tests/support/memory_device.h"

namespace extmerge {
namespace {

struct DumpedDevice {
  std::map<std::string, uint64_t> attributes;
  ThinAndData mappings;
};

struct Dump {
  std::map<std::string, uint64_t> superblock;
  std::vector<DumpedDevice> devices;
};

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// The numeric attributes of one XML element, name="value".
std::map<std::string, uint64_t> numbers_in(const std::string& element) {
  std::map<std::string, uint64_t> numbers;
  std::istringstream words(element);
  for (std::string word; words >> word;) {
    const size_t quote = word.find("=\"");
    if (quote == std::string::npos || quote + 2 >= word.size()) continue;
    if (word[quote + 2] < '0' || word[quote + 2] > '9') continue;
    numbers[word.substr(0, quote)] = std::stoull(word.substr(quote + 2));
  }
  return numbers;
}

Dump read_dump(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  Dump dump;
  for (std::string line; std::getline(file, line);) {
    auto numbers = numbers_in(line);
    if (line.find("<superblock") != std::string::npos) {
      dump.superblock = numbers;
    } else if (line.find("<device") != std::string::npos) {
      dump.devices.push_back({numbers, {}});
    } else if (line.find("<range_mapping") != std::string::npos) {
      for (uint64_t i = 0; i < numbers["length"]; ++i)
        dump.devices.back().mappings.emplace_back(numbers["origin_begin"] + i,
                                                  numbers["data_begin"] + i);
    } else if (line.find("<single_mapping") != std::string::npos) {
      dump.devices.back().mappings.emplace_back(numbers["origin_block"], numbers["data_block"]);
    }
  }
  return dump;
}

class AKernelsPool : public testing::TestWithParam<const char*> {
 protected:
  const std::string folder_ = std::string(EXTMERGE_TEST_DATA "/") + GetParam();
  static std::vector<std::byte> bytes_of(const std::string& path) {
    const std::string text = text_of(path);
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
  }
  MemoryDevice device_{bytes_of(folder_ + "/metadata.img")};
  MetadataReader reader_{device_};
};

TEST_P(AKernelsPool, IsReadAsThinDumpReadsIt) {
  Dump dump = read_dump(folder_ + "/dump.xml");
  ASSERT_FALSE(dump.devices.empty());
  const Superblock held = reader_.held_superblock(reader_.live_superblock().held_root);
  EXPECT_EQ(held.data_block_size.bytes(), to_bytes(Sectors(dump.superblock["data_block_size"])));
  EXPECT_EQ(held.transaction_id, dump.superblock["transaction"]);
  EXPECT_EQ(held.time, dump.superblock["time"]);

  const std::vector<ThinDevice> devices = read_devices(reader_, held);
  ASSERT_EQ(devices.size(), dump.devices.size());
  for (size_t i = 0; i < devices.size(); ++i) {
    auto& attributes = dump.devices[i].attributes;
    EXPECT_EQ(value(devices[i].id), attributes["dev_id"]);
    EXPECT_EQ(devices[i].mapped_blocks, attributes["mapped_blocks"]);
    EXPECT_EQ(devices[i].transaction_id, attributes["transaction"]);
    EXPECT_EQ(devices[i].creation_time, attributes["creation_time"]);
    EXPECT_EQ(devices[i].snapshotted_time, attributes["snap_time"]);
    EXPECT_EQ(walk_tree(reader_, devices[i].mapping_root.value()), dump.devices[i].mappings);
    EXPECT_EQ(dump.devices[i].mappings.size(), devices[i].mapped_blocks);
  }
}

TEST_P(AKernelsPool, FindsEachOfItsDevicesByItself) {
  const Superblock held = reader_.held_superblock(reader_.live_superblock().held_root);
  for (const ThinDevice& expected : read_devices(reader_, held)) {
    const auto found = find_device(reader_, held, expected.id);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->mapping_root, expected.mapping_root);
    EXPECT_EQ(found->mapped_blocks, expected.mapped_blocks);
  }
  EXPECT_FALSE(find_device(reader_, held, ThinId(77)));
}

// Thin 0 was written after the metadata snapshot was reserved, thin 1 was not.
TEST_P(AKernelsPool, HasMovedOnSinceItsMetadataSnapshotInThin0Only) {
  const Superblock live = reader_.live_superblock();
  const Superblock held = reader_.held_superblock(live.held_root);
  const auto root_of = [&](const Superblock& superblock, uint32_t id) {
    return find_device(reader_, superblock, ThinId(id))->mapping_root;
  };
  EXPECT_NE(root_of(live, 0), root_of(held, 0));
  EXPECT_EQ(root_of(live, 1), root_of(held, 1));
}

INSTANTIATE_TEST_SUITE_P(Pools, AKernelsPool,
                         testing::Values("block-192k", "block-1m", "deep-64k", "equal-64k",
                                         "tail-64k", "thin-larger-64k", "thin-smaller-64k"),
                         [](const auto& pool) {
                           std::string name = pool.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace extmerge
