// SPDX-License-Identifier: GPL-3.0-or-later
//
// Sweeps many blocks at once: each is visited once, with few requests; failures are in order.

#include "persistent-data/block_sweep.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <random>

#include "persistent-data/disk_format.h"
#include "persistent-data/node.h"
#include "tests/persistent-data/failures.h"
#include "tests/support/memory_device.h"

namespace extmerge {
namespace {

// A device whose blocks hold their own number.
std::vector<std::byte> numbered(uint64_t blocks) {
  std::vector<std::byte> contents(blocks * kMetadataBlockSize);
  for (uint64_t i = 0; i < blocks; ++i)
    std::memcpy(contents.data() + i * kMetadataBlockSize, &i, sizeof i);
  return contents;
}

std::vector<MetadataBlock> places(std::span<const uint64_t> numbers) {
  std::vector<MetadataBlock> blocks;
  for (const uint64_t number : numbers) blocks.emplace_back(number);
  return blocks;
}

std::vector<MetadataBlock> shuffled(uint64_t count) {
  std::vector<uint64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), uint64_t{0});
  std::shuffle(numbers.begin(), numbers.end(), std::mt19937(1));
  return places(numbers);
}

TEST(ASweep, VisitsEveryBlockOnceWithItsContentsAndItsIndex) {
  for (const uint64_t count : {1u, 255u, 256u, 257u, 3000u}) {
    MemoryDevice device(numbered(3000));
    const std::vector<MetadataBlock> blocks = shuffled(count);
    std::vector<std::atomic<int>> visits(count);
    std::atomic<int> wrong = 0;
    BlockSweep sweep(device);
    for (int round = 1; round <= 2; ++round) {
      sweep.run(blocks, [&](unsigned worker, size_t index, std::span<const std::byte> block) {
        uint64_t number = 0;
        std::memcpy(&number, block.data(), sizeof number);
        wrong += block.size() != kMetadataBlockSize || number != blocks[index].value() ||
                 worker >= BlockSweep::kWorkers;
        ++visits[index];
      });
      for (const auto& times : visits) EXPECT_EQ(times, round);
    }
    EXPECT_EQ(wrong, 0);
  }
}

TEST(ASweep, OfNothingReadsNothing) {
  MemoryDevice device(numbered(1));
  BlockSweep(device).run({}, [](unsigned, size_t, std::span<const std::byte>) { FAIL(); });
  EXPECT_EQ(device.reads(), 0u);
}

TEST(ASweep, JoinsNeighboursWhateverTheOrderTheyAreAskedForIn) {
  MemoryDevice device(numbered(1024));
  BlockSweep(device).run(shuffled(1024), [](unsigned, size_t, std::span<const std::byte>) {});
  EXPECT_EQ(device.reads(), 4u);  // 256 blocks each
}

TEST(ASweep, OfManyBlocksThatLieApartStillVisitsEach) {
  // Enough blocks for queues of their own.
  constexpr uint64_t kCount = 9000;
  MemoryDevice device(numbered(2 * kCount));
  std::vector<MetadataBlock> blocks;
  for (uint64_t i = 0; i < kCount; ++i) blocks.emplace_back(2 * i);
  std::atomic<uint64_t> sum = 0;
  BlockSweep(device).run(blocks, [&](unsigned, size_t, std::span<const std::byte> block) {
    uint64_t number = 0;
    std::memcpy(&number, block.data(), sizeof number);
    sum += number;
  });
  EXPECT_EQ(sum, kCount * (kCount - 1));
  EXPECT_EQ(device.reads(), kCount);
  EXPECT_EQ(device.in_flight(), 0u);
}

TEST(ASweep, ThatFailsSaysWhereItLiesFirstOnTheDevice) {
  for (const uint64_t first_bad : {0u, 700u, 1999u}) {
    MemoryDevice device(numbered(2000));
    device.on_request([&](IoRequest& request) {
      const uint64_t begin = request.offset.value() / kMetadataBlockSize;
      const uint64_t end = begin + request.memory.size() / kMetadataBlockSize;
      if (end > first_bad) request.result = -EIO;
    });
    const std::string failure = failure_of([&] {
      BlockSweep(device).run(shuffled(2000), [](unsigned, size_t, std::span<const std::byte>) {});
    });
    EXPECT_TRUE(failure.starts_with("EXM-701")) << failure;
    const uint64_t batch = first_bad / 256 * 256;
    EXPECT_NE(failure.find("byte " + std::to_string(batch * kMetadataBlockSize) + " "),
              std::string::npos)
        << failure;
    EXPECT_EQ(device.in_flight(), 0u);
  }
}

TEST(ASweep, EndsWithWhatAVisitThrew) {
  MemoryDevice device(numbered(2000));
  const std::string failure = failure_of([&] {
    BlockSweep(device).run(shuffled(2000), [](unsigned, size_t, std::span<const std::byte> block) {
      uint64_t number = 0;
      std::memcpy(&number, block.data(), sizeof number);
      if (number >= 1000) throw damaged(MetadataBlock(number), "bad");
    });
  });
  EXPECT_NE(failure.find("metadata block 1000"), std::string::npos) << failure;
}

}  // namespace
}  // namespace extmerge
