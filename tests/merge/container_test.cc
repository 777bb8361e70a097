// SPDX-License-Identifier: GPL-3.0-or-later
//
// Tells containers of a disk from disks, and tests merges with an origin or a data device that is a
// container. tests/cli/container_test.py has files of real programs.

#include "merge/container.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string_view>

#include "tests/merge/merge_fixture.h"

namespace extmerge {
namespace {

using namespace std::string_view_literals;

constexpr size_t kLength = 128 << 10;

struct Piece {
  size_t offset;
  std::string_view bytes;
};

std::vector<std::byte> disk_with(const std::vector<Piece>& pieces, std::byte rest = std::byte{0}) {
  std::vector<std::byte> disk(kLength, rest);
  for (const Piece& piece : pieces) {
    std::memcpy(disk.data() + piece.offset, piece.bytes.data(), piece.bytes.size());
  }
  return disk;
}

std::string format_of(const std::vector<std::byte>& disk) {
  SimulatedWorld world;
  SimulatedDisk device(world, "/images/x", disk);
  const auto found = find_container(device, "/images/x");
  return found ? found->format : "";
}

struct Known {
  std::string format;
  std::vector<Piece> pieces;
};

const std::vector<Known> kContainers = {
    {"a qcow image", {{0, "QFI\xfb\0\0\0\x01"sv}}},
    {"a qcow2 image", {{0, "QFI\xfb\0\0\0\x02"sv}}},
    {"a qcow2 image", {{0, "QFI\xfb\0\0\0\x03"sv}}},
    {"a QED image", {{0, "QED\0\0\0\x01\0"sv}}},
    {"a VMDK image", {{0, "KDMV\x01\0\0\0"sv}}},
    {"a VMDK image", {{0, "COWD\x01\0\0\0"sv}}},
    {"a VMDK image", {{0, "\xbe\xba\xfe\xca\0\0\0\0\x01\0\0\0\x02"sv}}},
    {"the description of a VMDK image", {{0, "# Disk DescriptorFile\nversion=1\n"sv}}},
    {"a VDI image", {{0, "<<< Oracle VM VirtualBox"sv}, {64, "\x7f\x10\xda\xbe\x01\0\x01\0"sv}}},
    {"a VHD image", {{0, "conectix\0\0\0\x02"sv}}},
    {"a VHD image", {{kLength - 512, "conectix\0\0\0\x02"sv}}},
    {"a VHD image", {{kLength - 511, "conectix\0\0\0\x02"sv}}},
    {"a VHDX image", {{0, "vhdxfileq\0e\0"sv}}},
    {"a Parallels image", {{0, "WithoutFreeSpace\x02"sv}}},
    {"a Parallels image", {{0, "WithouFreSpacExt\x02"sv}}},
    {"a Bochs image", {{0, "Bochs Virtual HD Image\0"sv}}},
    {"a cloop image", {{0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount"sv}}},
    {"a DMG image", {{kLength - 512, "koly\0\0\0\x04\0\0\x02\0"sv}}},
    {"a virtual appliance (OVA)", {{0, "machine.ovf\0"sv}, {257, "ustar\0"sv}}},
    {"a partclone image", {{0, "partclone-image\0"sv}}},
    {"an Android sparse image", {{0, "\x3a\xff\x26\xed\x01\0\0\0\x1c\0\x0c\0"sv}}},
    {"gzip data", {{0, "\x1f\x8b\x08\0"sv}}},
    {"bzip2 data", {{0, "BZh91AY&SY"sv}}},
    {"bzip2 data", {{0, "BZh1\x17\x72\x45\x38\x50\x90"sv}}},
    {"xz data", {{0, "\xfd\x37zXZ\0\0\x04"sv}}},
    {"zstd data", {{0, "\x28\xb5\x2f\xfd"sv}}},
    {"zstd data", {{0, "\x50\x2a\x4d\x18\x04\0\0\0"sv}}},
    {"lz4 data", {{0, "\x04\x22\x4d\x18"sv}}},
    {"lz4 data", {{0, "\x02\x21\x4c\x18"sv}}},
    {"lzma data", {{0, "\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0"sv}}},
    {"lzma data", {{0, "\x5d\0\0\x0c\0\0\0\x10\0\0\0\0\0\0"sv}}},
    {"lzip data", {{0, "LZIP\x01"sv}}},
    {"lzop data", {{0, "\x89LZO\0\r\n\x1a\n"sv}}},
    {"a zip archive", {{0, "PK\x03\x04\x14\0"sv}}},
    {"a 7-Zip archive", {{0, "7z\xbc\xaf\x27\x1c"sv}}},
    {"the metadata of a thin pool", {{32, "\xba\x52\x9c\x01\0\0\0\0\x02"sv}}},
};

TEST(Container, EachFormatIsKnownByItsMarkAndHasACureThatNamesThePath) {
  for (const Known& known : kContainers) {
    const auto disk = disk_with(known.pieces);
    EXPECT_EQ(format_of(disk), known.format);
    SimulatedWorld world;
    SimulatedDisk device(world, "/images/x", disk, Bytes(4096));
    const auto found = find_container(device, "/images/x");
    ASSERT_TRUE(found) << known.format;
    const Error error = container_refused(*found, "origin", "/images/x");
    EXPECT_EQ(error.id(), MessageId::kContainer);
    EXPECT_EQ(error.exit_status(), 4);
    EXPECT_NE(std::string(error.what()).find("the origin /images/x holds " + known.format),
              std::string::npos);
    EXPECT_NE(error.next().find("--allow-container"), std::string::npos);
    EXPECT_EQ(error.next().find('%'), std::string::npos);
    EXPECT_TRUE(error.next().find("/images/x") != std::string::npos ||
                error.next().find("--metadata") != std::string::npos)
        << error.next();
  }
}

TEST(Container, TheMarkElsewhereIsNone) {
  for (const Known& known : kContainers) {
    std::vector<Piece> moved = known.pieces;
    for (Piece& piece : moved) piece.offset = piece.offset > 1000 ? piece.offset - 1 - 512 : 4096;
    EXPECT_EQ(format_of(disk_with(moved)), "") << known.format;
  }
}

// The starts of disks: boot sectors and partition tables, file systems, LUKS, LVM, md, swap.
TEST(Container, WhatADiskHoldsIsNone) {
  const std::vector<Piece> boot = {{0, "\xeb\x63\x90"sv}, {510, "\x55\xaa"sv}};
  auto with = [](std::vector<Piece> pieces, const Piece& more) {
    pieces.push_back(more);
    return pieces;
  };
  const std::vector<std::vector<Piece>> disks = {
      {},
      boot,
      with(boot, {512, "EFI PART\0\0\x01\0"sv}),
      {{1080, "\x53\xef"sv}},                                         // ext2 to ext4
      {{0, "XFSB\0\0\x10\0"sv}},                                      // XFS
      {{65600, "_BHRfS_M"sv}},                                        // btrfs
      {{0, "\xebR\x90NTFS    "sv}, {510, "\x55\xaa"sv}},              // NTFS
      {{0, "\xeb\x3c\x90mkfs.fat"sv}, {510, "\x55\xaa"sv}},           // FAT
      {{0, "\xebv\x90\x45XFAT   "sv}},                                // exFAT
      {{1024, "\x10\x20\xf5\xf2"sv}},                                 // F2FS
      {{32769, "CD001\x01"sv}},                                       // ISO 9660
      {{0, "\x45\x52\x08\0\0\0\x90\x90"sv}, {32769, "CD001\x01"sv}},  // and a disk, too
      {{0, "hsqs"sv}},                                                // squashfs
      {{0, "LUKS\xba\xbe\0\x01"sv}},
      {{0, "LUKS\xba\xbe\0\x02"sv}, {16384, "SKUL\xba\xbe"sv}},
      {{512, "LABELONE"sv}, {536, "LVM2 001"sv}},
      {{4096, "\xfc\x4e\x2b\xa9\x01\0\0\0"sv}},  // md 1.2
      {{4086, "SWAPSPACE2"sv}},
      {{4086, "S1SUSPEND\0"sv}},
      {{257, "ustar\0"sv}, {0, "home/somebody/file"sv}},  // a disk used as a tape
      {{0, "\x5d\0\0\x12\x34\x56"sv}},
      {{0, "BZhello"sv}},
      {{0, "PK\x03\x04\xff\xff"sv}},
      {{0, "\x3a\xff\x26\xed\x07\0"sv}},
      {{0, "\x1f\x8b\x08\xff"sv}},
      {{32, "\xba\x52\x9c\x01\0\0\0\0\x02"sv}, {8, "\x01"sv}},
  };
  for (const auto& pieces : disks) {
    EXPECT_EQ(format_of(disk_with(pieces)), "") << pieces.size();
  }
  EXPECT_EQ(format_of(disk_with({}, std::byte{0xff})), "");
}

TEST(Container, RandomBytesAreNone) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200; ++i) {
    std::vector<std::byte> disk(8192);
    for (std::byte& byte : disk) byte = static_cast<std::byte>(random());
    EXPECT_EQ(format_of(disk), "");
  }
}

TEST(Container, DevicesOfASectorOrLessAreJudgedAsFarAsTheyReach) {
  SimulatedWorld world;
  std::vector<std::byte> sector(512);
  std::memcpy(sector.data(), "KDMV", 4);
  SimulatedDisk one(world, "/images/one", sector);
  EXPECT_TRUE(find_container(one, "/images/one"));
  SimulatedDisk none(world, "/images/none", {});
  EXPECT_FALSE(find_container(none, "/images/none"));
}

// --- what a merge does about it ----------------------------------------------

class ContainerMerge : public MergerTest {
 protected:
  static std::span<const std::byte> qcow2() {
    static const std::vector<std::byte> header = disk_with({{0, "QFI\xfb\0\0\0\x03"sv}});
    return std::span(header).first(512);
  }
  void overwrite(SimulatedDisk& disk, uint64_t offset = 0) {
    disk.overwrite(Bytes(offset), qcow2());
  }
  void expect_refused(const std::string& what) {
    const auto before = scene->origin().contents();
    EXPECT_EQ(merge_failure(), MessageId::kContainer);
    EXPECT_NE(words.find(what + " holds a qcow2 image"), std::string::npos) << words;
    EXPECT_EQ(failure([&] { merger().verify(); }), MessageId::kContainer);
    expect_untouched(before);
    EXPECT_TRUE(directory->names().empty());
  }
};

TEST_F(ContainerMerge, AnOriginThatIsOneIsRefusedBeforeAnythingIsWritten) {
  overwrite(scene->origin());
  expect_refused("the origin /images/origin");
  const PlanReport plan = merger().plan();
  ASSERT_EQ(plan.refusals.size(), 1u);
  EXPECT_EQ(plan.refusals[0].id(), MessageId::kContainer);
  EXPECT_GT(plan.summary.copy_bytes, Bytes(0));
  options.overrides.allow_container = true;
  EXPECT_TRUE(merger().plan().refusals.empty());
  EXPECT_EQ(merge().state, JournalState::kDone);
  EXPECT_EQ(merger().verify().result.first_difference, std::nullopt);
}

TEST_F(ContainerMerge, ADataDeviceThatIsOneIsRefusedUnlessTheKernelNamesIt) {
  overwrite(scene->data());
  expect_refused("the data device /images/data");
  EXPECT_EQ(failure([&] { merger().plan(); }), MessageId::kContainer);
  job = scene->job(directory);
  job->data_is_certain = true;
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(ContainerMerge, OfAnOddSizeOrShorterThanTheThinIsNamedBeforeAnyOtherReason) {
  overwrite(scene->origin());
  for (const uint64_t size : {3 * kBlock, 3 * kBlock - 100}) {
    scene->origin().resize(Bytes(size));
    job = scene->job(directory);
    job->origin.size = Bytes(size);
    EXPECT_EQ(merge_failure(), MessageId::kContainer) << size;
    options.overrides.allow_container = true;
    EXPECT_EQ(merge_failure(), size % 512 == 0 ? MessageId::kBeyondOrigin : MessageId::kOddSize);
    options.overrides.allow_container = false;
  }
}

TEST_F(ContainerMerge, AnUnreadableStartIsAFailureAndNoPermission) {
  world.on_operation([&](const Operation& op) {
    if (op.kind == OperationKind::kRead && op.object == "/images/origin" && op.offset == Bytes(0))
      world.fail_at(world.operations(), {});
  });
  EXPECT_EQ(merge_failure(), MessageId::kReadFailed);
  EXPECT_TRUE(directory->names().empty());
}

// A guest may write a tape archive, or an image of another disk, to its own disk. Thin block 0 has
// data block 4.
TEST_F(ContainerMerge, WhatTheThinItselfHoldsAtItsStartIsMergedResumedAndMergedAgain) {
  overwrite(scene->data(), 4 * kBlock);
  merge_in_part();
  EXPECT_EQ(std::memcmp(scene->origin().contents().data(), qcow2().data(), 512), 0);
  EXPECT_EQ(failure([&] { merger().undo([](const UndoReport&) { return true; }); }),
            MessageId::kNoUndoLog);
  EXPECT_EQ(merger().resume().state, JournalState::kDone);
  options.again = true;
  EXPECT_EQ(merge().state, JournalState::kDone);
}

TEST_F(ContainerMerge, WhatTheMergeItselfWroteIsUndone) {
  const std::vector<std::byte> before = scene->origin().contents();
  job = scene->job(directory);
  job->undo_log = job->custody->undo_log_at("/state/undo");
  overwrite(scene->data(), 4 * kBlock);
  EXPECT_EQ(merge().state, JournalState::kDone);
  EXPECT_EQ(std::memcmp(scene->origin().contents().data(), qcow2().data(), 512), 0);
  merger().undo([](const UndoReport&) { return true; });
  EXPECT_EQ(first_difference(scene->origin().contents(), before), "");
}

TEST_F(ContainerMerge, AnOriginThatBecameOneIsNeitherResumedNorUndone) {
  job = scene->job(directory);
  job->undo_log = job->custody->undo_log_at("/state/undo");
  merge_in_part();
  overwrite(scene->origin());
  const auto before = scene->origin().contents();
  EXPECT_EQ(failure([&] { merger().resume(); }), MessageId::kContainer);
  EXPECT_EQ(failure([&] { merger().undo([](const UndoReport&) { return true; }); }),
            MessageId::kContainer);
  expect_untouched(before);
}

TEST_F(ContainerMerge, AnOriginThatBecameOneWhereADoneMergeHadWrittenIsNotUndone) {
  job = scene->job(directory);
  job->undo_log = job->custody->undo_log_at("/state/undo");
  EXPECT_EQ(merge().state, JournalState::kDone);
  overwrite(scene->origin());
  const auto before = scene->origin().contents();
  const auto undo = [&] { merger().undo([](const UndoReport&) { return true; }); };
  EXPECT_EQ(failure(undo), MessageId::kOriginChanged);
  // An override lifts one refusal only.
  options.overrides.allow_stale = true;
  EXPECT_EQ(failure(undo), MessageId::kContainer);
  expect_untouched(before);
}

TEST_F(ContainerMerge, AnOriginThatBecameOneWhereTheMergeWroteNothingIsNotUndone) {
  job = scene->job(directory);
  job->undo_log = job->custody->undo_log_at("/state/undo");
  merge_in_part();
  const std::vector<std::byte> footer = disk_with({{0, "conectix\0\0\0\x02"sv}});
  scene->origin().overwrite(Bytes(scene->origin().contents().size() - 512),
                            std::span(footer).first(512));
  const auto before = scene->origin().contents();
  EXPECT_EQ(failure([&] { merger().undo([](const UndoReport&) { return true; }); }),
            MessageId::kContainer);
  expect_untouched(before);
}

}  // namespace
}  // namespace extmerge
