// SPDX-License-Identifier: GPL-3.0-or-later
//
// The last round of --when-closed, and the waits before it, over a source on simulated disks.

#include "cli/when_closed.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <stdexcept>

#include "tests/support/merge_scene.h"

namespace extmerge {
namespace {

constexpr uint64_t kBlockSize = 65536;

// A volume that is open as long as a test says.
class OpenVolume : public Source {
 public:
  std::string thin_name() const override { return "vg/snap"; }
  std::string origin_name() const override { return "vg/origin"; }
  Job plan_job() override { return scene_.job(directory_); }
  Job merge_job() override { return plan_job(); }
  Job resume_job() override { throw std::logic_error("nothing is resumed"); }
  Job undo_job() override { throw std::logic_error("nothing is undone"); }
  bool is_frozen() const override { return true; }
  void check_finish(bool) const override {}
  void abort() override {}
  const JournalPlace& place() const override { return place_; }

  bool is_open() const override {
    if (looks == 0) return false;
    --looks;
    return true;
  }
  void set_waiting(bool waits) override { waits_begun += waits; }
  std::string finish() override {
    ++finishes;
    verified = Journal::open(*directory_, "journal", false)->verified();
    if (on_finish) on_finish();
    return "removed";
  }

  mutable int looks = 0;  // that still find it open
  int waits_begun = 0;
  int finishes = 0;
  Verified verified{};
  std::function<void()> on_finish;

 private:
  SimulatedWorld world_;
  MergeScene scene_{world_,
                    {.thin_size = 8 * kBlockSize,
                     .origin_size = 8 * kBlockSize,
                     .mappings = {{0, 1}, {1, 0}, {5, 2}}}};
  std::shared_ptr<SimulatedDirectory> directory_ = std::make_shared<SimulatedDirectory>(world_);
  JournalPlace place_;
};

class WhenClosed : public testing::Test {
 protected:
  std::string finish() {
    std::string outcome;
    finish_when_closed(
        options, volume, progress, signals,
        [](const PlanReport&, const DeviceNames&) { return true; }, outcome);
    return outcome;
  }
  MessageId failure() {
    try {
      finish();
    } catch (const Error& error) {
      return error.id();
    }
    ADD_FAILURE() << "nothing failed";
    return MessageId::kInternal;
  }
  // finish() fails the first time, and the volume is open for as many looks then.
  void fail_once(MessageId id, int looks) {
    volume.on_finish = [this, id, looks] {
      if (volume.finishes > 1) return;
      volume.looks = looks;
      throw Error(id, "it failed", "see why");
    };
  }
  void SetUp() override {
    options.command = Command::kMerge;
    options.finish = options.when_closed = true;
    options.merge.pipeline.buffer_size = Bytes(kBlockSize);
    options.merge.pipeline.threads = 2;
  }

  OpenVolume volume;
  Options options;
  Progress progress;
  Signals signals;
};

TEST_F(WhenClosed, AVolumeThatNobodyHasOpenIsNotWaitedFor) {
  EXPECT_NE(finish().find("removed; it was out of use"), std::string::npos);
  EXPECT_EQ(volume.waits_begun, 0);
  EXPECT_EQ(volume.finishes, 1);
  EXPECT_EQ(volume.verified, Verified::kEverything);
}

TEST_F(WhenClosed, AVolumeThatIsOpenedAgainIsWaitedForAgain) {
  for (const MessageId id : {MessageId::kThinOpen, MessageId::kThinNotStill, MessageId::kStale}) {
    volume.finishes = volume.waits_begun = 0;
    fail_once(id, 3);
    options.merge.again = true;
    finish();
    EXPECT_EQ(volume.waits_begun, 1);
    EXPECT_EQ(volume.finishes, 2);
    EXPECT_EQ(volume.verified, Verified::kEverything);
  }
}

TEST_F(WhenClosed, AnotherFailureIsAnErrorAlsoIfTheVolumeIsOpen) {
  fail_once(MessageId::kSharedOrigin, 3);
  EXPECT_EQ(failure(), MessageId::kSharedOrigin);
  EXPECT_EQ(volume.finishes, 1);
}

TEST_F(WhenClosed, TheTimeToWaitIsForAllWaitsTogether) {
  options.timeout = std::chrono::seconds(1);
  volume.looks = 8;  // ten a second
  fail_once(MessageId::kThinOpen, 8);
  EXPECT_EQ(failure(), MessageId::kThinOpen);
  EXPECT_EQ(volume.finishes, 1);
}

}  // namespace
}  // namespace extmerge
