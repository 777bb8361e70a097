// SPDX-License-Identifier: GPL-3.0-or-later
//
// Random pools written by thin_restore, planned here and dumped by thin_dump. Both independent
// programs must agree with the plan on every mapping.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "merge/plan/runs.h"
#include "tests/support/memory_device.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

using Mappings = std::vector<std::array<uint64_t, 2>>;  // thin block, data block

std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  char chunk[4096];
  for (size_t n; (n = fread(chunk, 1, sizeof chunk, pipe)) > 0;) output.append(chunk, n);
  if (pclose(pipe) != 0) throw std::runtime_error(command + " failed");
  return output;
}

// The value of `name="..."` in a line of XML, nothing if it has none.
std::optional<uint64_t> attribute(const std::string& line, const std::string& name) {
  const size_t at = line.find(" " + name + "=\"");
  if (at == std::string::npos) return std::nullopt;
  return std::stoull(line.substr(at + name.size() + 3));
}

// One device's mappings as thin_dump prints them.
Mappings dumped(const std::string& xml, uint64_t dev_id) {
  Mappings mappings;
  std::istringstream lines(xml);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (const auto id = attribute(line, "dev_id")) inside = *id == dev_id;
    if (!inside) continue;
    if (const auto thin = attribute(line, "origin_block")) {
      mappings.push_back({*thin, *attribute(line, "data_block")});
    } else if (const auto begin = attribute(line, "origin_begin")) {
      for (uint64_t i = 0; i < *attribute(line, "length"); ++i) {
        mappings.push_back({*begin + i, *attribute(line, "data_begin") + i});
      }
    }
  }
  return mappings;
}

std::vector<std::byte> contents_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes(std::filesystem::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

constexpr uint64_t kDataBlocks = 40000;

struct RandomPool {
  std::string xml;
  std::vector<uint64_t> dev_ids;
};

RandomPool random_pool() {
  RandomPool pool;
  const auto block_sectors = 128 * *rc::gen::inRange<uint64_t>(1, 17);
  std::ostringstream xml;
  xml << "<superblock uuid=\"\" time=\"1\" transaction=\"3\" flags=\"0\" version=\"2\" "
         "data_block_size=\""
      << block_sectors << "\" nr_data_blocks=\"" << kDataBlocks << "\">\n";
  uint64_t data = 0;
  for (const auto dev_id :
       *rc::gen::container<std::set<uint64_t>>(3, rc::gen::inRange<uint64_t>(0, kMaxThinId + 1))) {
    pool.dev_ids.push_back(dev_id);
    // From no mapping to several leaves, in single blocks and in runs, with gaps on either side.
    std::ostringstream mappings;
    uint64_t thin = 0, mapped = 0;
    const auto count = *rc::gen::inRange<uint64_t>(0, 900);
    const auto longest = *rc::gen::inRange<uint64_t>(1, 9);
    const auto gaps = *rc::gen::inRange<uint64_t>(1, 5);
    for (uint64_t i = 0; i < count; ++i) {
      thin += *rc::gen::inRange<uint64_t>(0, gaps);
      data += *rc::gen::inRange<uint64_t>(0, gaps);
      const auto length = *rc::gen::inRange<uint64_t>(1, longest + 1);
      mappings << "<range_mapping origin_begin=\"" << thin << "\" data_begin=\"" << data
               << "\" length=\"" << length << "\" time=\"1\"/>\n";
      thin += length;
      data += length;
      mapped += length;
    }
    xml << "<device dev_id=\"" << dev_id << "\" mapped_blocks=\"" << mapped
        << "\" transaction=\"2\" creation_time=\"0\" snap_time=\"1\">\n"
        << mappings.str() << "</device>\n";
  }
  xml << "</superblock>\n";
  pool.xml = xml.str();
  return pool;
}

class ThinRestore : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v thin_restore thin_dump >/dev/null") != 0) {
      GTEST_SKIP() << "thin-provisioning-tools are not installed";
    }
    std::string name = std::filesystem::temp_directory_path() / "extmerge-restore-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override {
    if (!folder.empty()) std::filesystem::remove_all(folder);
  }

  void compare(const RandomPool& pool) {
    const std::string image = folder / "meta.img";
    std::ofstream(folder / "pool.xml") << pool.xml;
    std::filesystem::remove(image);
    std::ofstream(image).close();
    std::filesystem::resize_file(image, 4 << 20);
    output_of("thin_restore -i " + (folder / "pool.xml").string() + " -o " + image + " 2>&1");
    const std::string xml = output_of("thin_dump " + image);

    MemoryDevice device(contents_of(image));
    MetadataReader reader(device);
    const Superblock superblock = reader.live_superblock();
    const auto devices = read_devices(reader, superblock);
    RC_ASSERT(devices.size() == pool.dev_ids.size());
    const PlanLimits limits{superblock.data_block_size, Bytes(uint64_t{1} << 50), std::nullopt};
    for (const ThinDevice& thin : devices) {
      PlannedRuns runs(reader, thin, DataBlock(kDataBlocks), limits);
      Mappings planned;
      for (extmerge::Run run; runs.next(run);) {
        for (uint64_t i = 0; i < run.blocks; ++i) {
          planned.push_back({(run.thin + i).value(), (run.data + i).value()});
        }
      }
      RC_ASSERT(planned == dumped(xml, value(thin.id)));
      RC_ASSERT(runs.summary().mapped_blocks == planned.size());
    }
    pools++;
    mappings += dumped(xml, pool.dev_ids.front()).size();
  }

  std::filesystem::path folder;
  uint64_t pools = 0;
  uint64_t mappings = 0;
};

TEST_F(ThinRestore, AndThinDumpAgreeWithThePlanOnTwoHundredRandomPools) {
  // A hundred tests of two pools each: a second check would begin with the same seed and get the
  // same pools.
  EXPECT_TRUE(rc::check([this] {
    compare(random_pool());
    compare(random_pool());
  }));
  EXPECT_GE(pools * kShortStride, 200u);
  EXPECT_GT(mappings * kShortStride, 1000u) << "the pools were empty";
}

}  // namespace
}  // namespace extmerge
