// SPDX-License-Identifier: GPL-3.0-or-later
//
// Finds an origin's journal in the state directory: its own, or one that was begun with a shorter
// identity of the same file.

#include "cli/source/places.h"

#include <gtest/gtest.h>

#include <fstream>

#include "io/posix_directory.h"
#include "merge/plan/digest.h"
#include "tests/io/scratch.h"
#include "tests/merge/journal/journal_fixture.h"

namespace extmerge {
namespace {

const std::string kOld = "file:ino=12,born=1.5";
const std::string kNew = "file:ino=12,born=1.5,fs=0123456789abcdef,on=0123456789abcdef";
const std::string kCopy = "file:ino=12,born=1.5,fs=0123456789abcdef,on=fedcba9876543210";

class PlaceOfJournal : public testing::Test {
 protected:
  PlaceOfJournal() { request_.state_dir = scratch_.path(); }

  void begin(const std::string& name, const std::string& identity) {
    MergeRecord record;
    record.metadata = {"/metadata", "file:1"};
    record.data = {"/data", "file:2"};
    record.origin = {"/origin", identity};
    record.thin_id = ThinId{1};
    record.mapping_root = MetadataBlock(77);
    record.block_size = DataBlockSize(Bytes(kTestBlock));
    record.logical_block_size = Bytes(512);
    record.origin_size_before = record.origin_size_after = record.plan_end = Bytes(8 * kTestBlock);
    record.mapped_blocks = 2;
    record.runs = 1;
    record.copy_bytes = Bytes(2 * kTestBlock);
    RunDigest digest;
    digest.add(make_run(3, 9, 2));
    record.digest = digest.finish(record.limits());
    const auto directory = open_directory(scratch_.path(), false);
    ListedRuns runs({make_run(3, 9, 2)});
    Journal::begin(*directory, name, record)->publish(runs);
  }
  std::string name_for(const std::string& identity) const {
    return place_of(request_, identity, StateDirectory::kAsItIs).name;
  }

  const ScratchDirectory scratch_;
  Request request_;
};

TEST_F(PlaceOfJournal, IsNamedByTheOriginsIdentity) {
  EXPECT_EQ(name_for(kNew), default_journal_name(kNew));
  begin(default_journal_name(kNew), kNew);
  EXPECT_EQ(name_for(kNew), default_journal_name(kNew));
  EXPECT_EQ(name_for(kCopy), default_journal_name(kCopy));
}

TEST_F(PlaceOfJournal, IsThatOfAnEarlierVersionWhereThereIsOne) {
  begin(default_journal_name(kOld), kOld);
  EXPECT_EQ(name_for(kNew), default_journal_name(kOld));
  // The newer journal comes first.
  begin(default_journal_name(kNew), kNew);
  EXPECT_EQ(name_for(kNew), default_journal_name(kNew));
}

TEST_F(PlaceOfJournal, IsThatOfAKernelThatToldLess) {
  const std::string shorter = "file:ino=12,born=1.5,fs=0123456789abcdef";
  begin(default_journal_name(shorter), shorter);
  EXPECT_EQ(name_for(kNew), default_journal_name(shorter));
  EXPECT_EQ(name_for(kOld), default_journal_name(kOld));
}

// The next merge into this origin writes its whole identity into the journal.
TEST_F(PlaceOfJournal, OfAnEarlierVersionIsNotTheCopysOnceItIsKnownWhoseItIs) {
  begin(default_journal_name(kOld), kNew);
  EXPECT_EQ(name_for(kNew), default_journal_name(kOld));
  EXPECT_EQ(name_for(kCopy), default_journal_name(kCopy));
}

TEST_F(PlaceOfJournal, IsOneThatCannotBeReadWhichTheMergeThenRefuses) {
  std::ofstream(scratch_ / default_journal_name(kOld)) << "damaged";
  EXPECT_EQ(name_for(kNew), default_journal_name(kOld));
}

// A name for a report: it must never end the command.
TEST(PresentPath, OfADeviceThatCannotBeFoundIsTheRecordedOne) {
  for (const char* const path : {"/dev/mapper/gone", "/etc/passwd/not-a-folder", ""}) {
    for (const char* const identity : {"dm:LVM-gone", "dm-name:gone", "wwid:gone", ""}) {
      EXPECT_EQ(present_path({path, identity}), path) << identity;
    }
  }
}

}  // namespace
}  // namespace extmerge
