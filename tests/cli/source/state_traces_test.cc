// SPDX-License-Identifier: GPL-3.0-or-later
//
// Traces that a read-only command leaves in the state directory.

#include "cli/source/state_traces.h"

#include <gtest/gtest.h>

#include "cli/source/places.h"
#include "io/posix_directory.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

constexpr const char* kTracedJournal = "0123456789abcdef.journal";

class Traces : public testing::Test {
 protected:
  void SetUp() override {
    request_.command = Command::kPlan;
    request_.journal = scratch_ / "state/" + kTracedJournal;
    directory_ = open_directory(scratch_ / "state", true);
    recorded_.vg = "vg";
    recorded_.thin = "snap";
    recorded_.origin_marked = true;
    recorded_.freeze = "extmerge_0123abcd";
  }
  // Acts like a source's constructor, which then does `work`.
  template <typename Work>
  void look(const Work& work) {
    JournalPlace place;
    SystemChanges changes;
    StateTraces traces(request_, place, changes);
    place = journal_place(directory_, *request_.journal);
    lock_place(place);
    work(traces);
  }

  ScratchDirectory scratch_;
  Request request_;
  std::shared_ptr<DurableDirectory> directory_;
  SystemChanges recorded_;  // of an unfinished merge
};

TEST_F(Traces, OfACommandThatFailsBeforeItHasReadTheRecordLeaveItAsItIs) {
  write_changes(*directory_, kTracedJournal, recorded_);
  look([](StateTraces&) {});
  EXPECT_EQ(read_changes(*directory_, kTracedJournal), recorded_);
}

TEST_F(Traces, OfACommandThatFailsWhereThereIsNoRecordAreNone) {
  look([](StateTraces&) {});
  EXPECT_TRUE(directory_->names().empty());
}

TEST_F(Traces, AreNoFileOfSomebodyElseThatIsCalledAsTheLockWouldBe) {
  const std::string text = "mine";
  const auto file = directory_->create(lock_name(kTracedJournal));
  file->write(Bytes(0), std::as_bytes(std::span(text)));
  file->sync();
  look([](StateTraces&) {});
  EXPECT_EQ(directory_->names(), (std::vector<std::string>{lock_name(kTracedJournal)}));
}

TEST_F(Traces, AreTheRecordAsItWasFound) {
  write_changes(*directory_, kTracedJournal, recorded_);
  look([&](StateTraces& traces) {
    traces.begin(recorded_);
    SystemChanges changed = recorded_;
    changed.freeze.clear();
    write_changes(*directory_, kTracedJournal, changed);
  });
  EXPECT_EQ(read_changes(*directory_, kTracedJournal), recorded_);
}

}  // namespace
}  // namespace extmerge
