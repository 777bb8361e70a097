// SPDX-License-Identifier: GPL-3.0-or-later
//
// The crash tests depend on the simulated disks. These tests check the disks' promises, above all
// the bad outcomes.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "tests/support/simulated_world.h"

namespace extmerge {
namespace {

using Contents = std::vector<std::byte>;

struct alignas(4096) Page {
  std::array<std::byte, 4096> bytes{};
  explicit Page(int fill = 0) { bytes.fill(std::byte(fill)); }
  std::span<std::byte> first(size_t length) { return std::span(bytes).first(length); }
};

Contents filled(size_t length, int with) { return Contents(length, std::byte(with)); }

int64_t write_disk(SimulatedDisk& disk, uint64_t offset, int fill, size_t length = 512) {
  Page page(fill);
  IoRequest request{Direction::kWrite, Bytes(offset), page.first(length)};
  const auto queue = disk.make_queue(1);
  queue->submit({&request, 1});
  queue->wait();
  return request.result;
}

int64_t read_disk(SimulatedDisk& disk, uint64_t offset, Page& page, size_t length = 512) {
  IoRequest request{Direction::kRead, Bytes(offset), page.first(length)};
  const auto queue = disk.make_queue(1);
  queue->submit({&request, 1});
  queue->wait();
  return request.result;
}

void write_file(DurableFile& file, uint64_t offset, int fill, size_t length) {
  file.write(Bytes(offset), filled(length, fill));
}

TEST(SimulatedDisk, APowerCutTakesWhatWasNotFlushed) {
  SimulatedWorld world;
  SimulatedDisk disk(world, "disk", filled(4096, 0));
  ASSERT_EQ(write_disk(disk, 0, 1), 512);
  ASSERT_EQ(disk.flush(), 0);
  ASSERT_EQ(write_disk(disk, 512, 2), 512);
  EXPECT_TRUE(disk.dirty());
  EXPECT_EQ(disk.contents()[512], std::byte(2));
  EXPECT_EQ(disk.durable_contents()[512], std::byte(0));
  world.restart(Survivors::kNone, 1);
  EXPECT_EQ(disk.contents()[0], std::byte(1));
  EXPECT_EQ(disk.contents()[512], std::byte(0));
  EXPECT_FALSE(disk.dirty());
}

TEST(SimulatedDisk, AFlushCoversOnlyWritesThatWereWaitedFor) {
  SimulatedWorld world;
  SimulatedDisk disk(world, "disk", filled(4096, 0));
  Page page(7);
  IoRequest request{Direction::kWrite, Bytes(0), page.first(512)};
  const auto queue = disk.make_queue(1);
  queue->submit({&request, 1});
  EXPECT_EQ(request.result, -EINPROGRESS);
  ASSERT_EQ(disk.flush(), 0);
  EXPECT_EQ(disk.durable_contents()[0], std::byte(0));
  queue->wait();
  EXPECT_EQ(request.result, 512);
  ASSERT_EQ(disk.flush(), 0);
  EXPECT_EQ(disk.durable_contents()[0], std::byte(7));
}

TEST(SimulatedDisk, APrefixKeepsTheOrderAndTearsOnlyItsLastWrite) {
  std::set<int> lengths;
  bool torn = false;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimulatedWorld world;
    SimulatedDisk disk(world, "disk", filled(16384, 0));
    for (int i = 0; i < 4; ++i)
      ASSERT_EQ(write_disk(disk, static_cast<uint64_t>(i) * 4096, i + 1, 4096), 4096);
    world.restart(Survivors::kPrefix, seed);
    const Contents left = disk.contents();
    int whole = 0;
    int begun = 0;
    for (int i = 0; i < 4; ++i) {
      const auto sectors =
          std::count(left.begin() + i * 4096, left.begin() + (i + 1) * 4096, std::byte(i + 1));
      ASSERT_EQ(sectors % 512, 0);
      if (sectors > 0) begun = i + 1;
      if (sectors == 4096 && whole == i) whole = i + 1;
    }
    ASSERT_LE(begun - whole, 1);
    torn = torn || begun > whole;
    lengths.insert(whole);
  }
  EXPECT_TRUE(torn);
  EXPECT_EQ(lengths, (std::set<int>{0, 1, 2, 3, 4}));
}

TEST(SimulatedDisk, ARandomSubsetMayKeepALaterWriteAndLoseAnEarlierOne) {
  bool out_of_order = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimulatedWorld world;
    SimulatedDisk disk(world, "disk", filled(1024, 0));
    ASSERT_EQ(write_disk(disk, 0, 1), 512);
    ASSERT_EQ(write_disk(disk, 512, 2), 512);
    world.restart(Survivors::kRandom, seed);
    const Contents left = disk.contents();
    out_of_order = out_of_order || (left[0] == std::byte(0) && left[512] == std::byte(2));
  }
  EXPECT_TRUE(out_of_order);
}

TEST(SimulatedDisk, TheSameSeedLeavesTheSame) {
  std::set<Contents> left;
  for (int i = 0; i < 5; ++i) {
    SimulatedWorld world;
    SimulatedDisk disk(world, "disk", filled(65536, 0));
    for (uint64_t at = 0; at < 65536; at += 4096) write_disk(disk, at, 9, 4096);
    world.restart(Survivors::kRandom, 42);
    left.insert(disk.contents());
  }
  EXPECT_EQ(left.size(), 1u);
}

TEST(SimulatedDisk, AFailedFlushLosesDataThoughTheNextOneSucceeds) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimulatedWorld world;
    SimulatedDisk disk(world, "disk", filled(4096, 0));
    world.restart(Survivors::kAll, seed);
    for (uint64_t at = 0; at < 4096; at += 512) ASSERT_EQ(write_disk(disk, at, 1), 512);
    world.fail_at(world.operations(), {});
    ASSERT_EQ(disk.flush(), EIO);
    ASSERT_EQ(disk.flush(), 0);
    EXPECT_FALSE(disk.dirty());
    EXPECT_NE(disk.durable_contents(), filled(4096, 1)) << seed;
  }
}

TEST(SimulatedDisk, JudgesAlignmentAndTheEndAsTheKernelDoes) {
  SimulatedWorld world;
  SimulatedDisk disk(world, "disk", filled(8192, 5), Bytes(4096));
  EXPECT_EQ(write_disk(disk, 512, 1, 4096), -EINVAL);
  EXPECT_EQ(write_disk(disk, 0, 1, 512), -EINVAL);
  struct {
    Page first;
    Page second;
  } two;
  IoRequest skewed{Direction::kRead, Bytes(0), {two.first.bytes.data() + 512, 4096}};
  const auto queue = disk.make_queue(1);
  queue->submit({&skewed, 1});
  queue->wait();
  EXPECT_EQ(skewed.result, -EINVAL);
  EXPECT_EQ(disk.contents(), filled(8192, 5));

  SimulatedDisk odd(world, "odd", filled(1024, 5));
  Page page;
  EXPECT_EQ(read_disk(odd, 512, page, 1024), 512);
  EXPECT_EQ(read_disk(odd, 1024, page), 0);
  EXPECT_EQ(write_disk(odd, 512, 6, 1024), 512);
  EXPECT_EQ(write_disk(odd, 1024, 6), -ENOSPC);
  EXPECT_EQ(odd.size(), Bytes(1024));
}

TEST(SimulatedDisk, FaultsHitTheChosenOperationAndThoseLikeIt) {
  SimulatedWorld world;
  SimulatedDisk disk(world, "disk", filled(8192, 0));
  SimulatedDisk other(world, "other", filled(8192, 0));
  world.fail_at(0, {Fault::Kind::kShort, EIO, false});
  world.fail_at(1, {Fault::Kind::kError, ENOSPC, true});
  EXPECT_EQ(write_disk(disk, 0, 1, 4096), 2048);
  EXPECT_EQ(disk.contents()[2048], std::byte(0));
  EXPECT_EQ(write_disk(disk, 4096, 1), -ENOSPC);
  EXPECT_EQ(write_disk(disk, 4096, 1), -ENOSPC);
  EXPECT_EQ(write_disk(other, 4096, 1), 512);
  Page page;
  EXPECT_EQ(read_disk(disk, 0, page), 512);
  world.restart(Survivors::kAll, 1);
  EXPECT_EQ(write_disk(disk, 4096, 1), 512);
}

TEST(SimulatedWorld, NothingHappensOnceThePowerIsCut) {
  SimulatedWorld world;
  SimulatedDisk disk(world, "disk", filled(1024, 0));
  SimulatedDirectory directory(world);
  directory.put_file("journal", filled(512, 3));
  const auto file = directory.open("journal", true);
  world.cut_power_at(2);
  ASSERT_EQ(write_disk(disk, 0, 1), 512);
  EXPECT_FALSE(world.power_is_cut());
  EXPECT_EQ(disk.flush(), EIO);
  EXPECT_TRUE(world.power_is_cut());
  EXPECT_EQ(write_disk(disk, 512, 1), -EIO);
  try {
    write_file(*file, 0, 9, 512);
    FAIL() << "a write without power";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kJournalIo);
  }
  EXPECT_THROW(file->sync(), Error);
  EXPECT_THROW(directory.rename("journal", "other"), Error);
  EXPECT_THROW(directory.names(), Error);
  EXPECT_EQ(world.operations(), 2u);

  world.restart(Survivors::kAll, 1);
  EXPECT_EQ(world.operations(), 0u);
  EXPECT_EQ(disk.durable_contents()[0], std::byte(1));
  EXPECT_EQ(disk.durable_contents()[512], std::byte(0));
  EXPECT_EQ(directory.file("journal"), filled(512, 3));
  EXPECT_THROW(file->sync(), Error) << "a file of a program that is gone";
}

TEST(SimulatedWorld, AnObserverSeesEachOperationBeforeItHappens) {
  SimulatedWorld world;
  SimulatedDisk disk(world, "disk", filled(1024, 0));
  std::vector<std::byte> seen;
  world.on_operation([&](const Operation& operation) {
    EXPECT_EQ(operation.object, "disk");
    seen.push_back(disk.contents()[0]);
    if (operation.kind == OperationKind::kFlush) world.cut_power_at(world.operations());
  });
  write_disk(disk, 0, 1);
  write_disk(disk, 0, 2);
  EXPECT_EQ(disk.flush(), EIO);
  EXPECT_EQ(seen, (std::vector<std::byte>{std::byte(0), std::byte(1), std::byte(2)}));
  const auto history = world.history();
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].kind, OperationKind::kWrite);
  EXPECT_EQ(history[0].length, Bytes(512));
}

TEST(SimulatedDirectory, ASyncedFileIsLostWithItsNameUntilTheDirectoryIsSynced) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  auto file = directory.create("new");
  write_file(*file, 0, 1, 1000);
  file->sync();
  world.restart(Survivors::kNone, 1);
  EXPECT_FALSE(directory.has_file("new"));

  file = directory.create("new");
  write_file(*file, 0, 1, 1000);
  file->sync();
  directory.rename("new", "journal");
  write_file(*file, 1000, 2, 1000);
  EXPECT_EQ(file->size(), Bytes(2000));
  world.restart(Survivors::kNone, 1);
  EXPECT_EQ(directory.names(), std::vector<std::string>{"journal"});
  EXPECT_EQ(directory.file("journal"), filled(1000, 1)) << "the growth was not synced";
}

TEST(SimulatedDirectory, ARenameWithoutASyncKeepsTheNameAndLosesTheContents) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  directory.put_file("journal", filled(10, 1));
  write_file(*directory.create("new"), 0, 2, 10);
  directory.rename("new", "journal");
  world.restart(Survivors::kNone, 1);
  EXPECT_EQ(directory.file("journal"), Contents());
}

TEST(SimulatedDirectory, APowerCutInARenameLeavesTheOldOrTheNew) {
  std::set<int> outcomes;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SimulatedWorld world;
    SimulatedDirectory directory(world);
    directory.put_file("journal", filled(10, 1));
    directory.put_file("new", filled(10, 2));
    world.cut_power_at(0);
    EXPECT_THROW(directory.rename("new", "journal"), Error);
    world.restart(Survivors::kRandom, seed);
    const int now = std::to_integer<int>(directory.file("journal").at(0));
    EXPECT_EQ(directory.has_file("new"), now == 1);
    outcomes.insert(now);
  }
  EXPECT_EQ(outcomes, (std::set<int>{1, 2}));
}

TEST(SimulatedDirectory, ARemovalIsDurableAndMissingFilesAreNoError) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  directory.put_file("journal", filled(10, 1));
  directory.remove("journal");
  directory.remove("journal");
  EXPECT_EQ(directory.open("journal", false), nullptr);
  world.restart(Survivors::kNone, 1);
  EXPECT_FALSE(directory.has_file("journal"));
}

TEST(SimulatedDirectory, AFailedSyncShowsDataThatALaterSyncDoesNotSave) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  directory.put_file("journal", filled(512, 0));
  const auto file = directory.open("journal", true);
  write_file(*file, 0, 1, 512);
  world.fail_at(world.operations(), {});
  EXPECT_THROW(file->sync(), Error);
  file->sync();
  EXPECT_EQ(directory.file("journal"), filled(512, 1));
  world.restart(Survivors::kAll, 1);
  EXPECT_EQ(directory.file("journal"), filled(512, 0));
}

TEST(SimulatedDirectory, AShortFileWriteLeavesItsFirstSectorsAndFails) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  const auto file = directory.create("new");
  world.fail_at(world.operations(), {Fault::Kind::kShort, ENOSPC, false});
  try {
    write_file(*file, 0, 1, 3000);
    FAIL() << "a short write passed";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kNoSpace);
  }
  EXPECT_EQ(directory.file("new"), filled(1024, 1));
}

TEST(SimulatedDirectory, ALockIsHeldUntilItsHolderGoes) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  auto lock = directory.try_lock("lock");
  ASSERT_NE(lock, nullptr);
  EXPECT_EQ(directory.try_lock("lock"), nullptr);
  EXPECT_NE(directory.try_lock("another"), nullptr);
  world.restart(Survivors::kNone, 1);
  auto after = directory.try_lock("lock");
  ASSERT_NE(after, nullptr);
  lock.reset();
  EXPECT_EQ(directory.try_lock("lock"), nullptr) << "a dead holder released a living one's lock";
  after.reset();
  EXPECT_NE(directory.try_lock("lock"), nullptr);
}

}  // namespace
}  // namespace extmerge
