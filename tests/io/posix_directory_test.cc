// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/posix_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/io/scratch.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

mode_t mode_of(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return {bytes.begin(), bytes.end()};
}

std::string contents_of(DurableFile& file) {
  std::string text(static_cast<size_t>(file.size().value()), '?');
  const size_t count = file.read(Bytes(0), std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(count, text.size());
  return text;
}

void put(DurableFile& file, const std::string& text) { file.write(Bytes(0), bytes_of(text)); }

class PosixDirectory : public testing::Test {
 protected:
  void SetUp() override { directory_ = open_directory(scratch_ / "state", true); }

  std::string at(const std::string& name) const { return scratch_ / "state/" + name; }
  MessageId opening(const std::string& name) {
    return thrown_by([&] { directory_->open(name, true); });
  }
  void put_file(const std::string& name, const std::string& text) {
    put(*directory_->create(name), text);
  }

  ScratchDirectory scratch_;
  std::unique_ptr<DurableDirectory> directory_;
};

TEST_F(PosixDirectory, IsMadeWithItsParentsForItsOwnerOnly) {
  const auto deep = open_directory(scratch_ / "a/b/c", true);
  EXPECT_EQ(deep->path(), scratch_ / "a/b/c");
  for (const char* name : {"a", "a/b", "a/b/c"}) EXPECT_EQ(mode_of(scratch_ / name), 0700u) << name;
  EXPECT_EQ(thrown_by([&] { open_directory(scratch_ / "a/b/c", true); }), kNothingThrown);
  EXPECT_EQ(thrown_by([&] { open_directory(scratch_ / "d/e//", true); }), kNothingThrown);
  EXPECT_EQ(mode_of(scratch_ / "d/e"), 0700u);
}

TEST_F(PosixDirectory, IsNotMadeUnlessAsked) {
  EXPECT_EQ(thrown_by([&] { open_directory(scratch_ / "none", false); }), MessageId::kNotFound);
  EXPECT_FALSE(fs::exists(scratch_ / "none"));
}

TEST_F(PosixDirectory, ThatOthersMayWriteInIsRefused) {
  for (const mode_t mode : {0777u, 01777u, 0775u, 0702u}) {
    ASSERT_EQ(::chmod((scratch_ / "state").c_str(), mode), 0);
    EXPECT_EQ(thrown_by([&] { open_directory(scratch_ / "state", true); }),
              MessageId::kJournalUnsafe)
        << std::oct << mode;
  }
  ASSERT_EQ(::chmod((scratch_ / "state").c_str(), 0755), 0);
  EXPECT_EQ(thrown_by([&] { open_directory(scratch_ / "state", true); }), kNothingThrown);
}

TEST_F(PosixDirectory, ThatBelongsToSomebodyElseIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a directory away";
  ASSERT_EQ(::chown((scratch_ / "state").c_str(), 12345, 0), 0);
  EXPECT_EQ(thrown_by([&] { open_directory(scratch_ / "state", false); }),
            MessageId::kJournalUnsafe);
}

TEST_F(PosixDirectory, ThatIsAFileIsRefused) {
  put_file("file", "x");
  EXPECT_EQ(thrown_by([&] { open_directory(at("file"), false); }), MessageId::kJournalUnsafe);
  EXPECT_EQ(thrown_by([&] { open_directory(at("file"), true); }), MessageId::kJournalUnsafe);
}

TEST_F(PosixDirectory, KeepsToTheDirectoryItCheckedWhenItsNameMoves) {
  fs::rename(scratch_ / "state", scratch_ / "elsewhere");
  fs::create_directory(scratch_ / "state");
  put_file("journal", "mine");
  EXPECT_TRUE(fs::exists(scratch_ / "elsewhere/journal"));
  EXPECT_FALSE(fs::exists(scratch_ / "state/journal"));
}

TEST_F(PosixDirectory, GivesBackWhatWasWritten) {
  const auto file = directory_->create("journal");
  EXPECT_EQ(mode_of(at("journal")), 0600u);
  EXPECT_EQ(file->size(), Bytes(0));
  put(*file, "hello, disk");
  file->write(Bytes(7), bytes_of("tape"));
  file->sync();
  const auto again = directory_->open("journal", false);
  ASSERT_TRUE(again);
  EXPECT_EQ(contents_of(*again), "hello, tape");
  EXPECT_EQ(again->size(), Bytes(11));
}

TEST_F(PosixDirectory, ReadsFewerBytesOnlyAtTheEnd) {
  put_file("journal", "0123456789");
  std::vector<std::byte> memory(8);
  const auto file = directory_->open("journal", false);
  EXPECT_EQ(file->read(Bytes(0), memory), 8u);
  EXPECT_EQ(file->read(Bytes(6), memory), 4u);
  EXPECT_EQ(memory[3], std::byte{'9'});
  EXPECT_EQ(file->read(Bytes(10), memory), 0u);
}

TEST_F(PosixDirectory, ReplacesAFileOfTheSameNameByANewOne) {
  put_file("journal", "old");
  const auto old = directory_->open("journal", false);
  const auto file = directory_->create("journal");
  EXPECT_EQ(file->size(), Bytes(0));
  EXPECT_EQ(contents_of(*old), "old");
}

// Otherwise a prepared link would make extmerge truncate any file of root.
TEST_F(PosixDirectory, ReplacesALinkAndNotWhatItPointsTo) {
  put_file("precious", "precious");
  fs::create_symlink(at("precious"), at("journal"));
  put_file("journal", "new");
  EXPECT_EQ(contents_of(*directory_->open("precious", false)), "precious");
  EXPECT_EQ(contents_of(*directory_->open("journal", false)), "new");
}

TEST_F(PosixDirectory, OpensNothingWhereThereIsNoFile) {
  EXPECT_EQ(directory_->open("journal", true), nullptr);
  EXPECT_FALSE(fs::exists(at("journal")));
}

TEST_F(PosixDirectory, RefusesASymbolicLink) {
  put_file("real", "x");
  fs::create_symlink("real", at("journal"));
  EXPECT_EQ(opening("journal"), MessageId::kJournalUnsafe);
  fs::create_symlink("nowhere", at("dangling"));
  EXPECT_EQ(opening("dangling"), MessageId::kJournalUnsafe);
}

TEST_F(PosixDirectory, RefusesAFileWithAnotherHardLink) {
  put_file("journal", "x");
  fs::create_hard_link(at("journal"), at("twin"));
  EXPECT_EQ(opening("journal"), MessageId::kJournalUnsafe);
  fs::remove(at("twin"));
  EXPECT_EQ(opening("journal"), kNothingThrown);
}

TEST_F(PosixDirectory, RefusesAFifoWithoutWaitingForItsOtherEnd) {
  ASSERT_EQ(::mkfifo(at("journal").c_str(), 0600), 0);
  EXPECT_EQ(opening("journal"), MessageId::kJournalUnsafe);
  EXPECT_EQ(thrown_by([&] { directory_->open("journal", false); }), MessageId::kJournalUnsafe);
  EXPECT_EQ(thrown_by([&] { directory_->try_lock("journal"); }), MessageId::kJournalUnsafe);
}

TEST_F(PosixDirectory, RefusesADirectory) {
  fs::create_directory(at("journal"));
  EXPECT_EQ(opening("journal"), MessageId::kJournalUnsafe);
  EXPECT_EQ(thrown_by([&] { directory_->try_lock("journal"); }), MessageId::kJournalUnsafe);
}

TEST_F(PosixDirectory, RefusesAFileOthersMayWriteTo) {
  put_file("journal", "x");
  for (const mode_t mode : {0666u, 0660u, 0602u}) {
    ASSERT_EQ(::chmod(at("journal").c_str(), mode), 0);
    EXPECT_EQ(opening("journal"), MessageId::kJournalUnsafe) << std::oct << mode;
  }
  ASSERT_EQ(::chmod(at("journal").c_str(), 0644), 0);
  EXPECT_EQ(opening("journal"), kNothingThrown);
}

TEST_F(PosixDirectory, RefusesAFileOfSomebodyElse) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  put_file("journal", "x");
  ASSERT_EQ(::chown(at("journal").c_str(), 12345, 0), 0);
  EXPECT_EQ(opening("journal"), MessageId::kJournalUnsafe);
}

TEST_F(PosixDirectory, SaysWhatIsWrongAndWhatToDo) {
  put_file("journal", "x");
  fs::create_hard_link(at("journal"), at("twin"));
  try {
    directory_->open("journal", true);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), at("journal") + " cannot be trusted: it has 2 hard links");
    EXPECT_NE(error.next().find("find -samefile"), std::string::npos);
  }
}

TEST_F(PosixDirectory, TakesNoNameThatLeadsElsewhere) {
  put_file("journal", "x");
  for (const char* name : {"", ".", "..", "../state/journal", "/etc/passwd"}) {
    EXPECT_EQ(opening(name), MessageId::kJournalUnsafe) << name;
    EXPECT_EQ(thrown_by([&] { directory_->create(name); }), MessageId::kJournalUnsafe) << name;
    EXPECT_EQ(thrown_by([&] { directory_->remove(name); }), MessageId::kJournalUnsafe) << name;
    EXPECT_EQ(thrown_by([&] { directory_->rename("journal", name); }), MessageId::kJournalUnsafe);
  }
}

TEST_F(PosixDirectory, RenamesOverTheOldOne) {
  put_file("journal", "old");
  put_file("journal.tmp", "new");
  directory_->rename("journal.tmp", "journal");
  EXPECT_EQ(contents_of(*directory_->open("journal", false)), "new");
  EXPECT_EQ(directory_->names(), (std::vector<std::string>{"journal"}));
  EXPECT_EQ(thrown_by([&] { directory_->rename("none", "journal"); }), MessageId::kJournalIo);
}

TEST_F(PosixDirectory, RemovesAndDoesNotMindWhatIsNotThere) {
  put_file("journal", "x");
  directory_->remove("journal");
  EXPECT_FALSE(fs::exists(at("journal")));
  EXPECT_EQ(thrown_by([&] { directory_->remove("journal"); }), kNothingThrown);
}

TEST_F(PosixDirectory, ListsEveryNameEachTime) {
  put_file("b", "x");
  put_file("a", "x");
  put_file(".hidden", "x");
  const std::vector<std::string> all = {".hidden", "a", "b"};
  EXPECT_EQ(directory_->names(), all);
  EXPECT_EQ(directory_->names(), all);
}

TEST_F(PosixDirectory, LetsOneHolderHaveALock) {
  auto lock = directory_->try_lock("origin.lock");
  ASSERT_TRUE(lock);
  EXPECT_EQ(mode_of(at("origin.lock")), 0600u);
  EXPECT_EQ(directory_->try_lock("origin.lock"), nullptr);
  EXPECT_TRUE(directory_->try_lock("other.lock"));
  lock.reset();
  EXPECT_TRUE(fs::exists(at("origin.lock")));
  EXPECT_TRUE(directory_->try_lock("origin.lock"));
}

TEST_F(PosixDirectory, TellsWhetherALockIsHeldAndMakesNone) {
  EXPECT_FALSE(directory_->is_locked("origin.lock"));
  EXPECT_FALSE(fs::exists(at("origin.lock")));
  auto lock = directory_->try_lock("origin.lock");
  EXPECT_TRUE(directory_->is_locked("origin.lock"));
  lock.reset();
  EXPECT_FALSE(directory_->is_locked("origin.lock"));
  EXPECT_TRUE(directory_->try_lock("origin.lock"));
}

// How many descriptors of this process are open on a file of that name.
int times_open(const std::string& name) {
  int count = 0;
  std::error_code gone;
  for (const auto& file : fs::directory_iterator("/proc/self/fd")) {
    count += fs::read_symlink(file.path(), gone).filename() == name;
  }
  return count;
}

TEST_F(PosixDirectory, ALockFileThatItsHolderRemovesIsMadeAnew) {
  auto lock = directory_->try_lock("origin.lock");
  std::unique_ptr<FileLock> next;
  // The thread waits with the lock file open, which is then removed.
  std::thread waiting([&] { next = directory_->try_lock("origin.lock"); });
  while (times_open("origin.lock") < 2) std::this_thread::yield();
  directory_->remove("origin.lock");
  EXPECT_FALSE(directory_->is_locked("origin.lock"));
  lock.reset();
  waiting.join();
  ASSERT_TRUE(next);
  EXPECT_TRUE(fs::exists(at("origin.lock")));
  EXPECT_EQ(directory_->try_lock("origin.lock"), nullptr);
}

TEST_F(PosixDirectory, LocksNoFileBehindALink) {
  fs::create_symlink("victim", at("origin.lock"));
  EXPECT_EQ(thrown_by([&] { directory_->try_lock("origin.lock"); }), MessageId::kJournalUnsafe);
  EXPECT_FALSE(fs::exists(at("victim")));
}

TEST_F(PosixDirectory, SaysSoWhenAFileCannotBeWritten) {
  put_file("journal", "x");
  const auto file = directory_->open("journal", false);
  EXPECT_EQ(thrown_by([&] { put(*file, "y"); }), MessageId::kJournalIo);
}

TEST_F(PosixDirectory, HasNoSpaceBeyondTheLargestFile) {
  const auto file = directory_->create("journal");
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{65536, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const MessageId thrown = thrown_by([&] { file->write(Bytes(65536), bytes_of("x")); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(thrown, MessageId::kNoSpace);
}

}  // namespace
}  // namespace extmerge
