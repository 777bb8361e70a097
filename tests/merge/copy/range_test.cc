// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/copy/range.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/support/memory_device.h"

namespace extmerge {
namespace {

constexpr size_t kDeviceSize = 5 << 20;
constexpr Bytes kSourceAt{3 << 19}, kTargetAt{1 << 20}, kCopied{(2 << 20) + (1 << 19)};

std::vector<std::byte> filled(size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i / 512 + seed) % 251 + 1);
  return bytes;
}

class Range : public testing::Test {
 protected:
  Range() : from_(filled(kDeviceSize, 1)), to_(filled(kDeviceSize, 100)) {}

  void copy() {
    copy_range({from_, kSourceAt}, {to_, kTargetAt}, kCopied, [this] { ++pieces_; });
  }
  MessageId copy_fails() {
    try {
      copy();
    } catch (const Error& error) {
      return error.id();
    }
    return {};
  }

  MemoryDevice from_, to_;
  unsigned pieces_ = 0;
};

TEST_F(Range, IsCopiedAndNothingElseIsWritten) {
  std::vector<std::byte> expected = to_.contents();
  std::copy_n(from_.contents().begin() + kSourceAt.value(), kCopied.value(),
              expected.begin() + kTargetAt.value());
  const std::vector<std::byte> source = from_.contents();
  copy();
  EXPECT_EQ(to_.contents(), expected);
  EXPECT_EQ(from_.contents(), source);
  EXPECT_EQ(to_.flushes(), 1u);
  EXPECT_EQ(pieces_, 6u);  // copied, and compared
}

TEST_F(Range, OfZerosIsWrittenOnlyWhereOtherBytesAre) {
  std::fill(from_.contents().begin(), from_.contents().end(), std::byte{0});
  std::fill_n(to_.contents().begin() + kTargetAt.value(), 2 << 20, std::byte{0});
  copy();
  EXPECT_EQ(to_.writes(), 1u);  // the last half of a piece
  EXPECT_FALSE(has_data({to_, kTargetAt}, kCopied, [] {}));
}

TEST_F(Range, HasDataUpToItsLastByteAndNotBehindIt) {
  std::fill(from_.contents().begin(), from_.contents().end(), std::byte{0});
  const size_t end = (kSourceAt + kCopied).value();
  from_.contents()[end] = std::byte{1};
  from_.contents()[kSourceAt.value() - 1] = std::byte{1};
  EXPECT_FALSE(has_data({from_, kSourceAt}, kCopied, [] {}));
  from_.contents()[end - 1] = std::byte{1};
  EXPECT_TRUE(has_data({from_, kSourceAt}, kCopied, [] {}));
}

TEST_F(Range, WhoseCopyReadsDifferentlyIsAnError) {
  uint64_t written = 0;
  to_.on_request([&](IoRequest& request) {
    if (request.direction == Direction::kRead) return;
    if (++written == 2) request.result = static_cast<int64_t>(request.memory.size());  // lost
  });
  EXPECT_EQ(copy_fails(), MessageId::kDiffers);
}

TEST_F(Range, ReportsFailedTransfers) {
  to_.on_request([](IoRequest& request) {
    if (request.direction == Direction::kWrite) request.result = -EIO;
  });
  EXPECT_EQ(copy_fails(), MessageId::kWriteFailed);
  from_.on_request([](IoRequest& request) { request.result = -EIO; });
  EXPECT_EQ(copy_fails(), MessageId::kReadFailed);
}

TEST_F(Range, EndsWhereTheCallerThrows) {
  const auto stop = [this] {
    if (++pieces_ == 2) throw Error(MessageId::kStopped, "stopped", "again");
  };
  EXPECT_THROW(copy_range({from_, kSourceAt}, {to_, kTargetAt}, kCopied, stop), Error);
  EXPECT_EQ(to_.writes(), 1u);
}

}  // namespace
}  // namespace extmerge
