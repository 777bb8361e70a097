// SPDX-License-Identifier: GPL-3.0-or-later
//
// Half a merge, and a journal with a wrong byte. The next run ends with the right bytes on the
// origin, or refuses and leaves the origin unchanged.

#include <gtest/gtest.h>

#include "merge/journal/format.h"
#include "tests/merge/merge_fixture.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

class ADamagedResume : public MergerTest {
 protected:
  void SetUp() override {
    SceneShape shape;
    shape.thin_size = shape.origin_size = 5 * kBlock;
    shape.mappings = {{0, 2}, {2, 0}, {4, 1}};
    set_up(shape);
    begin_and_lose_power();
    // Two of three blocks are copied, with progress in all slots.
    const std::vector<std::byte> expected = scene->expected_origin();
    const auto journal = Journal::open(*directory, "journal", true);
    for (const uint64_t block : {uint64_t{0}, uint64_t{2}}) {
      scene->origin().overwrite(Bytes(block * kBlock),
                                std::span(expected).subspan(block * kBlock, kBlock));
    }
    for (size_t i = 1; i <= kSlots; ++i) {
      journal->record_progress({Bytes(i * 2 * kBlock / kSlots), {}});
    }
    half_merged_ = scene->origin().contents();
    journal_ = directory->file("journal");
    ASSERT_NE(first_difference(half_merged_, expected), "");
  }

  // Stops when the journal is in place and the origin is unchanged.
  void begin_and_lose_power() {
    world.on_operation([&](const Operation& operation) {
      if (operation.kind == OperationKind::kWrite) world.cut_power_at(world.operations());
    });
    merge_failure();
    ASSERT_TRUE(world.power_is_cut()) << words;
    world.on_operation({});
    world.restart(Survivors::kNone, 1);
  }

  // Resumes the merge with these bytes of its journal flipped.
  void merge_with_flipped(const std::vector<size_t>& places) {
    std::vector<std::byte> bytes = journal_;
    for (const size_t at : places) bytes[at] ^= kMasks[at % std::size(kMasks)];
    directory->put_file("journal", bytes);
    scene->origin().overwrite(Bytes(0), half_merged_);
    try {
      const MergeReport report = merge();
      ASSERT_EQ(report.state, JournalState::kDone) << places[0];
      ASSERT_EQ(first_difference(scene->origin().contents(), scene->expected_origin()), "")
          << places[0];
      ++merged_;
    } catch (const Error& error) {
      ASSERT_EQ(error.exit_status(), 6) << places[0] << ": " << error.what();
      ASSERT_EQ(first_difference(scene->origin().contents(), half_merged_), "") << places[0];
      ++refused_;
    }
    ASSERT_EQ(scene->damage(), "") << places[0];
  }

  // The bytes of a part that may be other than zero: its first `used` bytes and its checksum.
  static std::vector<size_t> used_bytes(size_t part, size_t size, size_t used) {
    std::vector<size_t> places;
    for (size_t at = 0; at < used; at += kShortStride) places.push_back(part + at);
    for (size_t at = size - kChecksumSize; at < size; at += kShortStride)
      places.push_back(part + at);
    return places;
  }
  std::vector<size_t> used_bytes_of_header(size_t copy) const {
    const size_t part = copy * kHeaderSize;
    size_t used = kHeaderSize - kChecksumSize;
    while (journal_[part + used - 1] == std::byte{0}) --used;
    return used_bytes(part, kHeaderSize, std::max<size_t>(used, 512));
  }

  static constexpr std::byte kMasks[] = {std::byte{0x01}, std::byte{0x80}, std::byte{0xff}};
  std::vector<std::byte> half_merged_;
  std::vector<std::byte> journal_;
  unsigned merged_ = 0;
  unsigned refused_ = 0;
};

TEST_F(ADamagedResume, IsRightWhateverByteOfAHeaderCopyIsFlipped) {
  for (size_t copy = 0; copy < kHeaderCopies; ++copy) {
    for (const size_t at : used_bytes_of_header(copy)) {
      ASSERT_NO_FATAL_FAILURE(merge_with_flipped({at}));
    }
  }
  // The other copy is intact, so no run is refused.
  EXPECT_EQ(refused_, 0u);
}

TEST_F(ADamagedResume, IsRefusedWhateverByteOfBothHeaderCopiesIsFlipped) {
  for (const size_t at : used_bytes_of_header(0)) {
    ASSERT_NO_FATAL_FAILURE(merge_with_flipped({at, kHeaderSize + at}));
  }
  EXPECT_EQ(merged_, 0u);
}

TEST_F(ADamagedResume, IsRightWhateverByteOfAProgressSlotIsFlipped) {
  for (size_t slot = 0; slot < kSlots; ++slot) {
    const size_t part = kSlotsOffset + slot * kSlotDistance;
    for (const size_t at : used_bytes(part, kSlotSize, sizeof(DiskProgressSlot))) {
      ASSERT_NO_FATAL_FAILURE(merge_with_flipped({at}));
    }
  }
  EXPECT_EQ(refused_, 0u);
}

TEST_F(ADamagedResume, IsRightWhateverByteOfAllProgressSlotsIsFlipped) {
  for (const size_t at : used_bytes(kSlotsOffset, kSlotSize, sizeof(DiskProgressSlot))) {
    std::vector<size_t> places;
    for (size_t slot = 0; slot < kSlots; ++slot) places.push_back(at + slot * kSlotDistance);
    ASSERT_NO_FATAL_FAILURE(merge_with_flipped(places));
  }
  EXPECT_EQ(refused_, 0u);
}

}  // namespace
}  // namespace extmerge
