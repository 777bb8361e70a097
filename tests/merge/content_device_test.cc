// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/content_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "io/buffer.h"
#include "io/transfer.h"
#include "merge/plan/run.h"
#include "tests/support/simulated_world.h"

namespace extmerge {
namespace {

constexpr size_t kPart = 4096;

class ContentDevice : public testing::Test {
 protected:
  static std::vector<std::byte> filled(size_t units, uint8_t first) {
    std::vector<std::byte> bytes(units * kPart);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(first + i / kPart);
    return bytes;
  }

  SimulatedWorld world;
  std::shared_ptr<SimulatedDisk> data =
      std::make_shared<SimulatedDisk>(world, "/images/data", filled(8, 1));
  std::shared_ptr<SimulatedDisk> origin =
      std::make_shared<SimulatedDisk>(world, "/images/origin", filled(4, 101));
  std::unique_ptr<BlockDevice> device = make_content_device(data, origin);
};

TEST_F(ContentDevice, ReadsDataOriginAndZerosInOneTransfer) {
  for (const bool is_short : {false, true}) {
    const auto queue = is_short ? device->make_short_queue() : device->make_queue(4);
    const Buffer memory(6 * kPart);
    std::ranges::fill(memory.span(), std::byte{0xee});
    const auto part = [&](size_t unit, size_t units) {
      return memory.span().subspan(unit * kPart, units * kPart);
    };
    // The second read of the origin crosses its end.
    std::vector<IoRequest> requests = {
        {Direction::kRead, Bytes(5 * kPart), part(0, 1)},
        {Direction::kRead, kUnmappedAt + Bytes(kPart), part(1, 1)},
        {Direction::kRead, Bytes(2 * kPart), part(2, 1)},
        {Direction::kRead, kUnmappedAt + Bytes(3 * kPart), part(3, 2)},
        {Direction::kRead, kZerosAt + Bytes(9 * kPart), part(5, 1)},
    };
    ASSERT_FALSE(transfer(*device, *queue, requests));
    const uint8_t expected[] = {6, 102, 3, 104, 0, 0};
    for (size_t unit = 0; unit < 6; ++unit) {
      EXPECT_TRUE(std::ranges::all_of(part(unit, 1), [&](std::byte byte) {
        return byte == std::byte{expected[unit]};
      })) << unit;
    }
  }
}

TEST_F(ContentDevice, AFailedReadNamesTheDeviceThatFailed) {
  const Buffer memory(2 * kPart);
  const auto queue = device->make_queue(4);
  for (const Bytes at : {Bytes(kPart), kUnmappedAt + Bytes(kPart)}) {
    world.restart(Survivors::kAll, 1);
    world.fail_at(0, {Fault::Kind::kError, EIO, true});
    try {
      read_fully(*device, *queue, at, memory.span());
      FAIL() << "nothing failed";
    } catch (const Error& error) {
      EXPECT_EQ(error.id(), MessageId::kReadFailed);
      const std::string name = at < kUnmappedAt ? "/images/data" : "/images/origin";
      EXPECT_EQ(std::string(error.what()).find("cannot read " + name + " at byte 4096"), 0u)
          << error.what();
    }
  }
}

TEST_F(ContentDevice, AShortReadOfTheOriginGoesOn) {
  const Buffer memory(4 * kPart);
  const auto queue = device->make_queue(4);
  world.restart(Survivors::kAll, 1);
  world.fail_at(0, {Fault::Kind::kShort, EIO, false});
  read_fully(*device, *queue, kUnmappedAt, memory.span());
  EXPECT_TRUE(std::ranges::equal(memory.span(), origin->contents()));
}

TEST_F(ContentDevice, WithoutAnOriginHasNoOriginsBytes) {
  const auto alone = make_content_device(data, nullptr);
  const Buffer memory(kPart);
  const auto queue = alone->make_queue(4);
  read_fully(*alone, *queue, Bytes(0), memory.span());
  read_fully(*alone, *queue, kZerosAt, memory.span());
  IoRequest request{Direction::kRead, kUnmappedAt, memory.span()};
  const auto failed = transfer(*alone, *queue, {&request, 1});
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->error_number, ENODEV);
}

TEST_F(ContentDevice, IsNotWritten) {
  const Buffer memory(kPart);
  const auto queue = device->make_queue(4);
  IoRequest request{Direction::kWrite, kUnmappedAt, memory.span()};
  ASSERT_TRUE(transfer(*device, *queue, {&request, 1}));
  EXPECT_EQ(origin->contents(), filled(4, 101));
  EXPECT_NE(device->flush(), 0);
}

}  // namespace
}  // namespace extmerge
