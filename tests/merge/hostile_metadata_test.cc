// SPDX-License-Identifier: GPL-3.0-or-later
//
// Twenty thousand damaged images of pool metadata: each block of pools by a real kernel is damaged
// in thirteen ways. Each plan must fail with exit status 9, or agree with thin_dump, an independent
// program. It must take at most two seconds, also under the sanitizers.
//
// Most damage that is not refused lies outside the thin. Then the plan is that of the undamaged
// image, and thin_dump is not needed.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "io/checksum.h"
#include "merge/plan/runs.h"
#include "persistent-data/disk_format.h"
#include "persistent-data/node.h"
#include "tests/support/memory_device.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPools[] = {"block-192k", "block-1m",        "deep-64k",        "equal-64k",
                                  "tail-64k",   "thin-larger-64k", "thin-smaller-64k"};
constexpr ThinId kThin{1};

using Random = std::mt19937_64;
using ThinAndData = std::vector<std::pair<uint64_t, uint64_t>>;
using Image = std::vector<std::byte>;

Image image_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  Image bytes(fs::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

struct Planned {
  int exit_status = 0;
  std::string words;
  ThinAndData mappings;
};

Planned plan(MemoryDevice& metadata, DataBlock end_of_data) {
  Planned planned;
  try {
    MetadataReader reader(metadata);
    const Superblock live = reader.live_superblock();
    const Superblock held = reader.held_superblock(live.held_root);
    const std::optional<ThinDevice> thin = find_device(reader, held, kThin);
    if (!thin) return {4, "there is no such thin", {}};
    const PlanLimits limits{held.data_block_size, Bytes(uint64_t{1} << 62), std::nullopt};
    PlannedRuns runs(reader, *thin, end_of_data, limits);
    for (extmerge::Run run; runs.next(run);) {
      for (uint64_t i = 0; i < run.blocks; ++i)
        planned.mappings.emplace_back(run.thin.value() + i, run.data.value() + i);
    }
  } catch (const Error& error) {
    return {error.exit_status(), error.what(), {}};
  }
  return planned;
}

// The mappings that thin_dump prints; nothing if it fails.
std::optional<ThinAndData> dumped(const Image& image, const fs::path& path) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(image.data()),
             static_cast<std::streamsize>(image.size()));
  FILE* const pipe =
      popen(("timeout 20 thin_dump -m --dev-id 1 " + path.string() + " 2>&1").c_str(), "r");
  std::string xml;
  char chunk[4096];
  for (size_t n; (n = fread(chunk, 1, sizeof chunk, pipe)) > 0;) xml.append(chunk, n);
  if (pclose(pipe) != 0) return {};
  const auto number = [](const std::string& line, const char* name) {
    const std::string start = std::string(" ") + name + "=\"";
    return std::stoull(line.substr(line.find(start) + start.size()));
  };
  ThinAndData mappings;
  std::istringstream lines(xml);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("<single_mapping") != std::string::npos) {
      mappings.emplace_back(number(line, "origin_block"), number(line, "data_block"));
    } else if (line.find("<range_mapping") != std::string::npos) {
      for (uint64_t i = 0; i < number(line, "length"); ++i)
        mappings.emplace_back(number(line, "origin_begin") + i, number(line, "data_begin") + i);
    }
  }
  return mappings;
}

// One block of an image, read as a superblock or a node.
class Block {
 public:
  Block(Image& image, uint64_t number)
      : bytes_(std::span(image).subspan(number * kMetadataBlockSize, kMetadataBlockSize)) {
    uint64_t magic = 0;
    std::memcpy(&magic, bytes_.data() + offsetof(DiskSuperblock, magic), sizeof magic);
    is_superblock_ = magic == kSuperblockMagic;
  }
  std::span<std::byte> bytes() { return bytes_; }
  DiskNodeHeader& header() { return *reinterpret_cast<DiskNodeHeader*>(bytes_.data()); }
  // A word of a node with values of 8 bytes: keys, then values.
  le64& word(uint64_t index) {
    return *reinterpret_cast<le64*>(bytes_.data() + sizeof(DiskNodeHeader) +
                                    index % 500 * sizeof(le64));
  }
  void fix_checksum() {
    const uint32_t salt = is_superblock_ ? kSuperblockSalt : kNodeSalt;
    le32 checksum(crc32c(bytes_.subspan(4)) ^ salt);
    std::memcpy(bytes_.data(), &checksum, sizeof checksum);
  }

 private:
  std::span<std::byte> bytes_;
  bool is_superblock_ = false;
};

void flip_bit(Block& block, Random& random) {
  block.bytes()[random() % kMetadataBlockSize] ^= std::byte(1u << random() % 8);
}

// A kind of damage to the block `number`; there are thirteen.
using Damage = void (*)(Image&, uint64_t number, Random&);
constexpr std::pair<const char*, Damage> kDamages[] = {
    {"bit flip",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       flip_bit(block, random);
     }},
    {"bit flip, checksum right",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       flip_bit(block, random);
       block.fix_checksum();
     }},
    {"another block number",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       block.header().blocknr.set(random() % 1024);
       block.fix_checksum();
     }},
    {"a copy of another block",
     [](Image& image, uint64_t number, Random& random) {
       const Image before = image;
       const uint64_t other = random() % 100;
       std::ranges::copy(std::span(before).subspan(other * kMetadataBlockSize, kMetadataBlockSize),
                         Block(image, number).bytes().begin());
     }},
    {"a cycle",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       const uint32_t most = std::max(block.header().max_entries.get(), 1u);
       const uint32_t entries = std::max(block.header().nr_entries.get(), 1u);
       block.word(most + random() % entries).set(number);
       block.fix_checksum();
     }},
    {"keys out of order",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       const uint64_t i = random() % std::max(block.header().nr_entries.get(), 2u);
       const uint64_t key = block.word(i).get();
       block.word(i).set(block.word(i + 1).get());
       block.word(i + 1).set(key);
       block.fix_checksum();
     }},
    {"too many entries",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       block.header().nr_entries.set(static_cast<uint32_t>(random()));
       block.fix_checksum();
     }},
    {"a few more or less entries",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       block.header().nr_entries.set(block.header().nr_entries.get() + 2 -
                                     static_cast<uint32_t>(random() % 5));
       block.fix_checksum();
     }},
    {"room for more than fits",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       block.header().max_entries.set(static_cast<uint32_t>(random() % 2000));
       block.fix_checksum();
     }},
    {"a data block out of range",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       const uint32_t most = std::max(block.header().max_entries.get(), 1u);
       const uint32_t entries = std::max(block.header().nr_entries.get(), 1u);
       block.word(most + random() % entries).set(random() >> random() % 64);
       block.fix_checksum();
     }},
    {"a data block twice",
     [](Image& image, uint64_t number, Random& random) {
       Block block(image, number);
       const uint32_t most = std::max(block.header().max_entries.get(), 1u);
       const uint32_t entries = std::max(block.header().nr_entries.get(), 2u);
       block.word(most + random() % entries).set(block.word(most + random() % entries).get());
       block.fix_checksum();
     }},
    {"zeroes", [](Image& image, uint64_t number,
                  Random&) { std::ranges::fill(Block(image, number).bytes(), std::byte{0}); }},
    {"cut off",
     [](Image& image, uint64_t number, Random& random) {
       image.resize(number * kMetadataBlockSize + random() % kMetadataBlockSize / 512 * 512);
     }},
};

class HostileMetadata : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::system("command -v thin_dump >/dev/null") != 0)
      GTEST_SKIP() << "thin-provisioning-tools are not installed";
    std::string name = fs::temp_directory_path() / "extmerge-hostile-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override {
    if (!folder.empty()) fs::remove_all(folder);
  }
  fs::path folder;
};

TEST_P(HostileMetadata, IsRefusedOrReadAsThinDumpReadsIt) {
  const fs::path pool = fs::path(EXTMERGE_TEST_DATA) / GetParam();
  const Image first = image_of(pool / "metadata.img");
  MemoryDevice device(first);
  const DataBlock end_of_data(MetadataReader(device).live_superblock().nr_data_blocks);
  const Planned sound = plan(device, end_of_data);
  ASSERT_EQ(sound.exit_status, 0) << sound.words;
  ASSERT_EQ(dumped(first, folder / "image"), sound.mappings);

  Random random(11);
  uint64_t images = 0, refused = 0, asked = 0;
  std::chrono::steady_clock::duration longest{0};
  for (uint64_t number = 0; number < first.size() / kMetadataBlockSize; number += kStride) {
    const auto block = std::span(first).subspan(number * kMetadataBlockSize, kMetadataBlockSize);
    if (std::ranges::all_of(block, [](std::byte b) { return b == std::byte{0}; })) continue;
    for (const auto& [name, damage] : kDamages) {
      for (int again = 0; again < 4; ++again) {
        Image& image = device.contents();
        image = first;
        damage(image, number, random);
        const std::string where = std::string(GetParam()) + ", block " + std::to_string(number) +
                                  ", " + name + ", " + std::to_string(again);
        const auto began = std::chrono::steady_clock::now();
        const Planned planned = plan(device, end_of_data);
        longest = std::max(longest, std::chrono::steady_clock::now() - began);
        ++images;
        if (planned.exit_status == 9) {
          ++refused;
          continue;
        }
        if (planned.exit_status == 0 && planned.mappings == sound.mappings) continue;
        // The damaged image is accepted with another plan: thin_dump must agree.
        ++asked;
        const auto truth = dumped(image, folder / "image");
        if (planned.exit_status == 0) {
          ASSERT_TRUE(truth) << where << ": thin_dump refuses what is planned";
          ASSERT_EQ(planned.mappings, *truth) << where;
        } else {
          ASSERT_EQ(planned.exit_status, 4) << where << ": " << planned.words;
          ASSERT_TRUE(!truth || truth->empty()) << where << ": " << planned.words;
        }
      }
    }
  }
  EXPECT_LT(longest, std::chrono::seconds(2));
  EXPECT_GT(refused, images / 20) << "one of these blocks is the thin's own";
  RecordProperty("images", static_cast<int>(images));
  RecordProperty("refused", static_cast<int>(refused));
  RecordProperty("thin_dump_asked", static_cast<int>(asked));
}

std::string pool_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Pools, HostileMetadata, testing::ValuesIn(kPools), pool_name);

}  // namespace
}  // namespace extmerge
