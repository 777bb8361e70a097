// SPDX-License-Identifier: GPL-3.0-or-later
//
// A command finds and reads a record first, then takes its lock. Another command may change the
// record in between.

#include <gtest/gtest.h>

#include <fstream>

#include "cli/source/lvm/volume_source.h"
#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "cli/source/source.h"
#include "io/posix_directory.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

constexpr const char* kJournalName = "0123456789abcdef.journal";

class RecordedChange : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = open_directory(scratch_ / "state", true);
    changes_.thin = "thin";
    write();
  }
  void write() { write_changes(*directory_, kJournalName, changes_); }
  RecordedChanges found() {
    return {journal_place(directory_, scratch_ / "state/" + kJournalName), changes_};
  }

  ScratchDirectory scratch_;
  std::shared_ptr<DurableDirectory> directory_;
  SystemChanges changes_;  // a plain device-mapper thin's
};

TEST_F(RecordedChange, IsReadAgainUnderTheLock) {
  RecordedChanges recorded = found();
  changes_.held = "81:7:3:40:41";
  write();
  lock_recorded(recorded);
  EXPECT_EQ(recorded.changes.held, "81:7:3:40:41");
  EXPECT_TRUE(directory_->is_locked(lock_name(kJournalName)));
}

TEST_F(RecordedChange, OfAnotherMergeByThenIsLeftAlone) {
  for (std::string SystemChanges::*member :
       {&SystemChanges::thin, &SystemChanges::thin_uuid, &SystemChanges::freeze}) {
    RecordedChanges recorded = found();
    changes_.*member += "other";
    write();
    std::ofstream(scratch_ / "state/" + kJournalName) << "its journal";
    EXPECT_EQ(thrown_by([&] { put_back_recorded({}, recorded); }), MessageId::kJournalLocked);
    const auto now = read_changes(*directory_, kJournalName);
    ASSERT_TRUE(now);
    EXPECT_EQ((*now).*member, changes_.*member);
    EXPECT_TRUE(directory_->open(kJournalName, false)) << "the other merge's journal was removed";
  }
}

TEST_F(RecordedChange, ThatIsGoneByThenIsNotMadeAgain) {
  RecordedChanges recorded = found();
  directory_->remove(changes_name(kJournalName));
  EXPECT_EQ(thrown_by([&] { put_back_recorded({}, recorded); }), MessageId::kJournalLocked);
  EXPECT_FALSE(read_changes(*directory_, kJournalName));
}

// Removing the journal may lose an undo; the caller must check that.
TEST_F(RecordedChange, StaysWithItsJournalWhenAllIsPutBack) {
  RecordedChanges recorded = found();
  std::ofstream(scratch_ / "state/" + kJournalName) << "a journal";
  put_back_recorded({}, recorded);
  EXPECT_TRUE(read_changes(*directory_, kJournalName));
  EXPECT_TRUE(directory_->open(kJournalName, false));
}

}  // namespace
}  // namespace extmerge
