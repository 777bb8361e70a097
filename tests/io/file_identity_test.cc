// SPDX-License-Identifier: GPL-3.0-or-later
//
// Images whose copies have the same inode and birth time, on real file systems. A test is skipped
// if the machine lacks loop devices, the file system or its tools.

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>

#include "io/device_identity.h"
#include "io/identity.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

bool does(const std::string& command) {
  return std::system((command + " > /dev/null 2>&1").c_str()) == 0;
}

// A file system in a sparse file, which the test mounts and unmounts.
class FileSystemImage {
 public:
  FileSystemImage(const ScratchDirectory& scratch, const std::string& name)
      : file_(scratch / name), where_(scratch / name + ".mounted") {
    fs::create_directory(where_);
  }
  ~FileSystemImage() { unmount(); }
  FileSystemImage(const FileSystemImage&) = delete;
  FileSystemImage& operator=(const FileSystemImage&) = delete;

  bool make(const std::string& mkfs, const std::string& size) {
    return does("truncate -s " + size + " " + file_) && does(mkfs + " " + file_);
  }
  void copy_from(const FileSystemImage& other) {
    ASSERT_TRUE(does("cp --sparse=always " + other.file_ + " " + file_));
  }
  bool mount(const std::string& options = "") {
    loop_ = std::make_unique<ScratchLoopDevice>(file_);
    is_mounted_ = loop_->works() && does("mount " + options + " " + loop_->path() + " " + where_);
    return is_mounted_;
  }
  void unmount() {
    // Another test's mount namespace may keep it mounted, so that unmounting writes nothing.
    if (is_mounted_ && does("sync -f " + where_)) ::umount2(where_.c_str(), 0);
    is_mounted_ = false;
    loop_.reset();
  }
  std::string operator/(const std::string& name) const { return where_ + "/" + name; }

 private:
  std::string file_, where_;
  std::unique_ptr<ScratchLoopDevice> loop_;
  bool is_mounted_ = false;
};

std::string identity_at(const std::string& path) { return inspect(path).identity; }

// The identity that all versions know.
std::string old_identity_at(const std::string& path) {
  struct statx status {};
  EXPECT_EQ(::statx(AT_FDCWD, path.c_str(), 0, kFileIdentityMask, &status), 0) << path;
  return identity_of_file(status);
}

class FileIdentity : public testing::Test {
 protected:
  // An image in a file system and in a copy of that file system have different identities. Each
  // keeps its identity at another mount point.
  void expect_copies_to_differ(const std::string& mkfs, const std::string& size,
                               const std::string& options) {
    FileSystemImage first(scratch_, "first"), second(scratch_, "second");
    if (!first.make(mkfs, size) || !first.mount(options)) GTEST_SKIP() << "not here: " << mkfs;
    ASSERT_TRUE(does("truncate -s 1M " + first / "image"));
    first.unmount();
    second.copy_from(first);
    ASSERT_TRUE(second.mount(options));
    ASSERT_TRUE(first.mount(options));
    const std::string one = identity_at(first / "image"), other = identity_at(second / "image");
    EXPECT_EQ(old_identity_at(first / "image"), old_identity_at(second / "image"));
    EXPECT_NE(one, other);
    EXPECT_FALSE(is_same_identity(one, other));
    EXPECT_TRUE(is_same_identity(one, old_identity_at(first / "image"))) << one;
    first.unmount();
    second.unmount();
    ASSERT_TRUE(first.mount(options));
    EXPECT_EQ(identity_at(first / "image"), one);
    const ScratchLoopDevice loop(first / "image");
    ASSERT_TRUE(loop.works());
    EXPECT_EQ(identity_at(loop.path()), one);
  }
  void expect_reflinks_to_differ(const std::string& mkfs, const std::string& size) {
    FileSystemImage whole(scratch_, "whole");
    if (!whole.make(mkfs, size) || !whole.mount()) GTEST_SKIP() << "not here: " << mkfs;
    ASSERT_TRUE(does("head -c 1M /dev/urandom > " + whole / "image"));
    ASSERT_TRUE(does("cp --reflink=always -p " + whole / "image" + " " + whole / "clone"));
    const std::string one = identity_at(whole / "image"), other = identity_at(whole / "clone");
    EXPECT_FALSE(is_same_identity(one, other)) << one << " " << other;
    fs::rename(whole / "image", whole / "renamed");
    EXPECT_EQ(identity_at(whole / "renamed"), one);
  }

  const ScratchDirectory scratch_;
};

TEST_F(FileIdentity, TellsTheCopiesOfAnExt4Apart) {
  expect_copies_to_differ("mkfs.ext4 -q -F", "16M", "");
}

TEST_F(FileIdentity, TellsTheCopiesOfAnXfsApart) {
  expect_copies_to_differ("mkfs.xfs -q -f", "320M", "-o nouuid");
}

TEST_F(FileIdentity, TellsReflinkClonesOnXfsApart) {
  expect_reflinks_to_differ("mkfs.xfs -q -f -m reflink=1", "320M");
}

TEST_F(FileIdentity, TellsReflinkClonesOnBtrfsApart) {
  expect_reflinks_to_differ("mkfs.btrfs -q -f", "128M");
}

TEST_F(FileIdentity, TellsSnapshotsOfABtrfsSubvolumeApart) {
  FileSystemImage whole(scratch_, "whole");
  if (!whole.make("mkfs.btrfs -q -f", "128M") || !whole.mount()) GTEST_SKIP() << "no btrfs here";
  ASSERT_TRUE(does("btrfs subvolume create " + whole / "sub"));
  ASSERT_TRUE(does("truncate -s 1M " + whole / "sub/image"));
  ASSERT_TRUE(does("btrfs subvolume snapshot " + whole / "sub" + " " + whole / "snap"));
  EXPECT_EQ(old_identity_at(whole / "sub/image"), old_identity_at(whole / "snap/image"));
  const std::string one = identity_at(whole / "sub/image"),
                    other = identity_at(whole / "snap/image");
  EXPECT_FALSE(is_same_identity(one, other)) << one << " " << other;
  EXPECT_TRUE(is_same_identity(one, old_identity_at(whole / "sub/image")));

  whole.unmount();
  ASSERT_TRUE(whole.mount("-o subvol=snap"));
  EXPECT_EQ(identity_at(whole / "image"), other);
  whole.unmount();
  ASSERT_TRUE(whole.mount());
  EXPECT_EQ(identity_at(whole / "sub/image"), one);
}

}  // namespace
}  // namespace extmerge
