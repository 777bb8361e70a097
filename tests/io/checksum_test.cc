// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/checksum.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "io/file_descriptor.h"

namespace extmerge {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// The form in the standards, inverted at the end.
uint32_t standard_crc32c(const std::vector<std::byte>& bytes) { return ~crc32c(bytes); }

// One bit at a time, from the definition.
uint32_t slow_crc32c(std::span<const std::byte> bytes, uint32_t remainder) {
  for (const std::byte byte : bytes) {
    remainder ^= std::to_integer<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82f63b78u : 0);
    }
  }
  return remainder;
}

TEST(Checksum, GivesTheCheckValueOfTheCatalogues) {
  EXPECT_EQ(~crc32c(bytes_of("123456789")), 0xe3069283u);
}

// RFC 3720, B.4
TEST(Checksum, GivesTheExamplesOfTheIscsiStandard) {
  std::vector<std::byte> up(32), down(32);
  for (size_t i = 0; i < 32; ++i) {
    up[i] = static_cast<std::byte>(i);
    down[i] = static_cast<std::byte>(31 - i);
  }
  EXPECT_EQ(standard_crc32c(std::vector<std::byte>(32)), 0x8a9136aau);
  EXPECT_EQ(standard_crc32c(std::vector<std::byte>(32, std::byte{0xff})), 0x62a8ab43u);
  EXPECT_EQ(standard_crc32c(up), 0x46dd794eu);
  EXPECT_EQ(standard_crc32c(down), 0x113fdb5cu);
}

TEST(Checksum, OfNothingIsWhatItStartedWith) {
  EXPECT_EQ(crc32c({}), 0xffffffffu);
  EXPECT_EQ(crc32c({}, 160774), 160774u);
}

TEST(Checksum, AgreesWithTheDefinitionAtEveryLengthAndAlignment) {
  std::vector<std::byte> bytes(600);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 167 + i / 7);
  for (size_t begin = 0; begin < 16; ++begin) {
    for (size_t length = 0; length + begin <= bytes.size(); length += 1 + length / 16) {
      const auto part = std::span(bytes).subspan(begin, length);
      ASSERT_EQ(crc32c(part), slow_crc32c(part, 0xffffffffu)) << begin << " " << length;
    }
  }
}

TEST(Checksum, CanBeTakenInParts) {
  const auto text = bytes_of("the quick brown fox jumps over the lazy dog");
  EXPECT_EQ(crc32c(text.subspan(11), crc32c(text.first(11))), crc32c(text));
}

// The library takes the length as an int, crc32c() does not. The memory is 16 MiB, mapped many
// times.
TEST(Checksum, OfMoreThanAnIntCanCountIsThatOfItsParts) {
  constexpr size_t kTile = size_t{16} << 20;
  constexpr size_t kTiles = 129;
  const FileDescriptor tile(::memfd_create("tile", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(tile.get(), kTile), 0);
  constexpr std::string_view kText = "somewhere in it";
  ASSERT_EQ(::pwrite(tile.get(), kText.data(), kText.size(), 4321), std::ssize(kText));
  void* const memory = ::mmap(nullptr, kTile * kTiles, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const auto* const begin = static_cast<const std::byte*>(memory);
  for (size_t i = 0; i < kTiles; ++i) {
    void* const place = static_cast<std::byte*>(memory) + i * kTile;
    ASSERT_EQ(::mmap(place, kTile, PROT_READ, MAP_SHARED | MAP_FIXED, tile.get(), 0), place);
  }
  uint32_t expected = 0xffffffffu;
  for (size_t i = 0; i < kTiles; ++i) expected = crc32c({begin + i * kTile, kTile}, expected);
  EXPECT_EQ(crc32c({begin, kTile * kTiles}), expected);
  ::munmap(memory, kTile * kTiles);
}

}  // namespace
}  // namespace extmerge
