// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/open_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/io/scratch.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

class OpenFiles : public testing::Test {
 protected:
  void open_in(int process, int descriptor, const std::string& file, const std::string& flags) {
    const fs::path folder = fs::path(scratch_ / "proc") / std::to_string(process);
    fs::create_directories(folder / "fd");
    fs::create_directories(folder / "fdinfo");
    fs::create_symlink(file, folder / "fd" / std::to_string(descriptor));
    std::ofstream(folder / "fdinfo" / std::to_string(descriptor))
        << "pos:\t0\nflags:\t" << flags << "\nmnt_id:\t27\n";
    std::ofstream(folder / "comm") << "writer\n";
  }
  std::vector<std::string> writers() {
    SystemRoot root;
    root.proc = scratch_ / "proc";
    root.is_kernels = false;
    return writers_of(inspect(image_), root);
  }

  const ScratchDirectory scratch_;
  const std::string image_ = scratch_.make_file("image", 4096);
  const std::string other_ = scratch_.make_file("other", 4096);
};

TEST_F(OpenFiles, AreFoundByWhatTheyAreAndHowTheyWereOpened) {
  fs::create_symlink("image", scratch_ / "link");
  open_in(99, 3, image_, "0100002");             // O_RDWR
  open_in(7, 5, scratch_ / "link", "02100001");  // O_WRONLY, by another name
  open_in(8, 5, image_, "0100000");              // O_RDONLY
  open_in(8, 6, other_, "0100002");
  open_in(9, 6, image_, "010000002");  // O_PATH
  EXPECT_EQ(writers(), (std::vector<std::string>{"writer (7)", "writer (99)"}));
}

TEST_F(OpenFiles, OfProcessesThatAreGoneAreNone) {
  fs::create_directories(fs::path(scratch_ / "proc") / "12");
  fs::create_directories(fs::path(scratch_ / "proc") / "self");
  open_in(13, 1, scratch_ / "gone", "02");
  EXPECT_TRUE(writers().empty());
}

TEST_F(OpenFiles, ThatCannotBeLookedAtForLackOfFilesAreAFailureAndNotNone) {
#ifdef EXTMERGE_SANITIZED
  GTEST_SKIP() << "sanitizers open files of their own";
#endif
  open_in(99, 3, image_, "0100002");
  const DeviceFacts facts = inspect(image_);
  SystemRoot root;
  root.proc = scratch_ / "proc";
  root.is_kernels = false;
  const NoMoreFiles none;
  EXPECT_EQ(thrown_by([&] { writers_of(facts, root); }), MessageId::kTooManyFiles);
}

TEST_F(OpenFiles, InAFolderThatIsNoProcfsAreNotBelieved) {
  fs::create_directories(scratch_ / "proc");
  SystemRoot root;
  root.proc = scratch_ / "proc";
  EXPECT_EQ(thrown_by([&] { writers_of(inspect(image_), root); }), MessageId::kCannotLook);
  root.proc = scratch_ / "missing";
  EXPECT_EQ(thrown_by([&] { writers_of(inspect(image_), root); }), MessageId::kCannotLook);
}

TEST_F(OpenFiles, OfWhatIsNotThereAreNone) {
  EXPECT_TRUE(writers_of(inspect(scratch_ / "missing")).empty());
  EXPECT_TRUE(writers_of(inspect(image_)).empty());
}

}  // namespace
}  // namespace extmerge
