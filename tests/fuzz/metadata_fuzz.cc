// SPDX-License-Identifier: GPL-3.0-or-later
//
// Fuzzes pool metadata: any input is refused, or both ways to a plan's summary agree (in key order,
// and in the order of places).
//
// Input: a byte, then metadata blocks. The superblocks get right checksums, because the reader
// waits for a wrong one, which could be torn. If the byte is odd, all other blocks get right
// checksums as nodes, so that the fuzzer reaches the code behind them.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "merge/plan/runs.h"
#include "persistent-data/devices.h"
#include "persistent-data/node.h"
#include "tests/support/memory_device.h"

namespace extmerge {
namespace {

constexpr size_t kMaxBlocks = 64;

[[noreturn]] void complain(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void seal(std::vector<std::byte>& image, bool nodes) {
  DiskSuperblock superblock;
  std::memcpy(&superblock, image.data(), sizeof superblock);
  const uint64_t held_root = superblock.held_root.get();
  for (size_t at = 0; at < image.size(); at += kMetadataBlockSize) {
    const std::span<std::byte> block(image.data() + at, kMetadataBlockSize);
    const uint64_t number = at / kMetadataBlockSize;
    const bool is_superblock = number == 0 || number == held_root;
    if (!is_superblock && !nodes) continue;
    const le32 checksum(is_superblock ? superblock_checksum(block) : node_checksum(block));
    std::memcpy(block.data(), &checksum, sizeof checksum);
  }
}

// The refusal's text; empty if there is none.
template <typename Read>
std::string refused(Read read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.exit_status() != 9) complain(error.what());
    return error.what();
  }
  return {};
}

void plan(MetadataReader& reader, const ThinDevice& device) {
  const DataBlock end(uint64_t{1} << 32);
  const PlanLimits limits{DataBlockSize(Bytes(65536)), Bytes(uint64_t{1} << 50), {}};
  PlanSummary by_key, by_place;
  const std::string first = refused([&] {
    PlannedRuns runs(reader, device, end, limits);
    Run run;
    while (runs.next(run)) {
    }
    by_key = runs.summary();
  });
  const std::string second =
      refused([&] { by_place = summarize(reader, device, end, limits, {}, {}, {}); });
  if (first.empty() != second.empty()) complain("refused in one order and not in the other");
  if (first.empty() && !(by_key == by_place)) complain("two plans of one device");
}

void read_pool(std::vector<std::byte> image) {
  MemoryDevice device(std::move(image));
  MetadataReader reader(device);
  const Superblock live = reader.live_superblock();
  const auto plan_all = [&](const Superblock& superblock) {
    for (const ThinDevice& thin : read_devices(reader, superblock)) plan(reader, thin);
  };
  refused([&] { plan_all(live); });
  if (live.held_root.value() != 0) plan_all(reader.held_superblock(live.held_root));
}

}  // namespace
}  // namespace extmerge

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace extmerge;
  if (size < 1 + kMetadataBlockSize) return 0;
  const size_t blocks = std::min((size - 1) / kMetadataBlockSize, kMaxBlocks);
  std::vector<std::byte> image(blocks * kMetadataBlockSize);
  std::memcpy(image.data(), data + 1, image.size());
  seal(image, data[0] % 2 == 1);
  refused([&] { read_pool(std::move(image)); });
  return 0;
}
