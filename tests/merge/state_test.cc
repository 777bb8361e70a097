// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reads a pool in use, and stops during the reading: an unknown fact must never count as a good
// one.

#include "merge/state.h"

#include <climits>

#include "merge/plan/beyond_origin.h"
#include "tests/merge/journal/journal_fixture.h"
#include "tests/merge/merge_fixture.h"
#include "tests/support/memory_device.h"

namespace extmerge {
namespace {

// The live superblock changes at every read for `commits` reads, as in a pool that commits all the
// time. Afterwards the thin may have another root.
class BusyPool : public LivePool {
 protected:
  void use_busy_metadata(int commits, bool thin_has_changed) {
    use_metadata([](MetadataBuilder&) {});
    const std::vector<std::byte> still = builder->image();
    move_live_root(*builder, other_root);
    const std::vector<std::byte> moved = builder->image();
    auto device = device_ = std::make_shared<MemoryDevice>(moved);
    device->on_request([=, this, d = device.get()](IoRequest& request) {
      if (request.offset != Bytes(0)) return;
      const bool is_moved = left_ > 0 ? left_ % 2 == 0 : thin_has_changed;
      std::copy_n((is_moved ? moved : still).begin(), kMetadataBlockSize, d->contents().begin());
      if (left_ > 0) --left_;
    });
    left_ = commits;
    const auto open = custody_of(*job).on_open;
    custody_of(*job).on_open = [device, open](const DeviceFacts& facts, OpenMode mode,
                                              Bytes ends) -> std::shared_ptr<BlockDevice> {
      if (facts.path == "/images/metadata") return device;
      return open(facts, mode, ends);
    };
  }
  void make_busy() { left_ = INT_MAX; }
  // Reserves metadata snapshots like a named source. Each new one applies `change` to the pool.
  void use_own_snapshot(const std::function<void()>& change) {
    custody_of(*job).on_release = [this] { ++released_; };
    custody_of(*job).on_reserve = [this, change] {
      EXPECT_EQ(released_, 1);
      change();
    };
  }
  // Makes the held superblock show the thin as in the live one.
  void hold_the_live_tree() {
    const uint64_t held = builder->held_root();
    builder->superblock(held).data_mapping_root.set(builder->superblock().data_mapping_root.get());
    builder->fix_checksum(held);
    std::copy_n(builder->image().begin() + static_cast<int64_t>(held * kMetadataBlockSize),
                kMetadataBlockSize,
                device_->contents().begin() + static_cast<int64_t>(held * kMetadataBlockSize));
  }
  int released_ = 0;
  std::string refusals() {
    std::string ids;
    for (const Error& error : merger().plan().refusals) ids += to_string(error.id());
    return ids;
  }

 private:
  std::shared_ptr<MemoryDevice> device_;
  int left_ = 0;
};

TEST_F(BusyPool, ThatNeverHoldsStillIsRefusedAndNotTakenForDamagedOrUnchanged) {
  use_busy_metadata(INT_MAX, false);
  EXPECT_EQ(refusals(), "EXM-904");
  const auto before = scene->origin().contents();
  EXPECT_EQ(merge_failure(), MessageId::kMetadataBusy);
  expect_untouched(before);
  options.overrides.allow_stale = true;
  EXPECT_EQ(refusals(), "");
}

TEST_F(BusyPool, ThatHoldsStillInTheEndIsJudgedByThat) {
  use_busy_metadata(8, false);
  EXPECT_EQ(refusals(), "");
  use_busy_metadata(8, true);
  EXPECT_EQ(refusals(), "EXM-409");
}

TEST_F(BusyPool, ThatBecomesBusyDuringTheMergeIsNotSaidToBeDone) {
  use_busy_metadata(0, false);
  // At the first write to the origin.
  world.on_operation([this](const Operation& op) {
    if (op.kind == OperationKind::kFlush) make_busy();
  });
  EXPECT_EQ(merge_failure(), MessageId::kMetadataBusy);
  EXPECT_EQ(Journal::open(*directory, "journal", false)->state(), JournalState::kCopying);
}

TEST_F(BusyPool, ThatNeverHoldsStillIsAskedInAMetadataSnapshotOfOurOwn) {
  use_busy_metadata(INT_MAX, false);
  use_own_snapshot([] {});
  EXPECT_EQ(refusals(), "");
  EXPECT_EQ(merge().state, JournalState::kDone);
  EXPECT_EQ(released_, 2);
  expect_merged();
}

TEST_F(BusyPool, InWhichTheThinChangedDuringTheMergeIsNotSaidToBeDone) {
  use_busy_metadata(INT_MAX, false);
  use_own_snapshot([this] { hold_the_live_tree(); });
  EXPECT_EQ(merge_failure(), MessageId::kStale);
  EXPECT_EQ(Journal::open(*directory, "journal", false)->state(), JournalState::kCopying);
}

TEST(BeyondOriginScan, ThatIsStoppedHasNotFoundThatThereIsNothing) {
  MemoryDevice data(std::vector<std::byte>(1 << 20));
  BeyondOriginScan scan(data);
  std::stop_source stop;
  stop.request_stop();
  try {
    scan.look_at({Bytes(0), Bytes(0), Bytes(1 << 20)}, stop.get_token());
    FAIL() << "it came to an end";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kStopped);
  }
}

TEST(Journal, OpeningALongOneCanBeStopped) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  publish_journal(directory, scattered_runs(1000));
  std::stop_source stop;
  stop.request_stop();
  try {
    Journal::open(directory, kTestName, false, true, stop.get_token());
    FAIL() << "it was read to its end";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kStopped);
  }
}

}  // namespace
}  // namespace extmerge
