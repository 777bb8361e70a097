// SPDX-License-Identifier: GPL-3.0-or-later
//
// --keep-siblings on simulated disks: what siblings show stays the same before, during and after a
// merge, also after a power cut at any moment.

#include "merge/copy/copy_up.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <optional>

#include "merge/merge.h"
#include "tests/support/memory_device.h"
#include "tests/support/merge_scene.h"
#include "tests/support/stride.h"
#include "tests/support/thin_pool.h"

namespace extmerge {
namespace {

constexpr uint32_t kFreeze = 9;
constexpr uint32_t kSiblings[] = {2, 3, 4};
constexpr uint64_t kThinBlocks = 8;

// A thin of the simulated pool. It takes whole blocks, each of which gets a new data block. The
// pool knows a new mapping after the data is written, and keeps it over a power cut after a commit:
// with a flush, and by itself with every third block.
class SiblingDevice : public BlockDevice {
 public:
  SiblingDevice(ThinPool& pool, uint32_t id, std::function<void()> committed)
      : pool_(pool), id_(id), committed_(std::move(committed)) {}

  const std::string& name() const override { return name_; }
  Bytes size() const override { return Bytes(kThinBlocks * ThinPool::kBlockSize); }
  Bytes logical_block_size() const override { return Bytes(512); }
  std::unique_ptr<AsyncQueue> make_queue(unsigned) override {
    return std::make_unique<Queue>(*this);
  }
  int flush() override {
    const int failed = pool_.data().flush();
    if (failed == 0) committed_();
    return failed;
  }
  void resize(Bytes) override { FAIL(); }
  void drop_cache() override {}

  uint64_t blocks_written = 0;
  std::optional<uint64_t> broken_block;  // takes no writes

 private:
  class Queue : public AsyncQueue {
   public:
    explicit Queue(SiblingDevice& device)
        : device_(device), queue_(device.pool_.data().make_queue(4)) {}
    void submit(std::span<IoRequest> requests) override { requests_ = requests; }
    void wait() override {
      for (IoRequest& request : requests_) device_.carry_out(request, *queue_);
      requests_ = {};
    }

   private:
    SiblingDevice& device_;
    std::unique_ptr<AsyncQueue> queue_;
    std::span<IoRequest> requests_;
  };

  void carry_out(IoRequest& request, AsyncQueue& queue) {
    EXPECT_EQ(request.direction, Direction::kWrite);
    EXPECT_EQ(request.memory.size(), ThinPool::kBlockSize);
    const auto before = pool_.back_up();
    const uint64_t block = request.offset.value() / ThinPool::kBlockSize;
    if (block == broken_block) {
      request.result = -EIO;
      return;
    }
    const uint64_t data = pool_.provision(id_, block);
    IoRequest inner{Direction::kWrite, Bytes(data * ThinPool::kBlockSize), request.memory};
    queue.submit(std::span(&inner, 1));
    queue.wait();
    request.result = inner.result;
    if (inner.result != static_cast<int64_t>(request.memory.size())) return pool_.restore(*before);
    if (++blocks_written % 3 == 0) flush();
  }

  ThinPool& pool_;
  const uint32_t id_;
  const std::function<void()> committed_;
  const std::string name_ = "sibling";
};

class KeptSiblings : public testing::Test {
 protected:
  KeptSiblings() {
    options.overrides.keep_siblings = true;
    options.pipeline.buffer_size = Bytes(ThinPool::kBlockSize);
    options.pipeline.io_size = Bytes(ThinPool::kBlockSize / 2);
    options.pipeline.checkpoint_bytes = Bytes(ThinPool::kBlockSize);
    options.pipeline.threads = 2;
    pool.create(kFreeze);
    for (const uint64_t block : std::initializer_list<uint64_t>{1, 2, 5, 6, 7})
      pool.write(kFreeze, block);
    for (const uint32_t id : kSiblings) pool.create(id);
    for (const uint64_t block : std::initializer_list<uint64_t>{0, 2, 3}) pool.write(3, block);
    for (const uint64_t block : std::initializer_list<uint64_t>{1, 2, 5, 6, 7})
      pool.write(4, block);  // unharmed
    pool.commit();
    committed = pool.back_up();
    expected = pool.view(kFreeze);
    for (const uint32_t id : kSiblings) views[id] = pool.view(id);
  }

  Job job() {
    Job job = pool.job(directory, kFreeze);
    job.origin_users.emplace();
    for (const uint32_t id : kSiblings) {
      job.origin_users->push_back({ThinId{id}, "vg/sibling" + std::to_string(id)});
    }
    SceneCustody& custody = custody_of(job);
    custody.on_reserve = [this] { pool.commit(); };
    custody.on_check = on_check;
    custody.on_siblings_closed = on_closed;
    custody.on_siblings = [this](const std::vector<ThinId>& ids) {
      if (before_claim) before_claim();
      opened.clear();
      std::vector<std::shared_ptr<BlockDevice>> devices;
      for (const ThinId id : ids) {
        opened.push_back(std::make_shared<SiblingDevice>(pool, value(id),
                                                         [this] { committed = pool.back_up(); }));
        opened.back()->broken_block = broken_block;
        devices.push_back(opened.back());
      }
      return devices;
    };
    return job;
  }
  // "" if it says done.
  std::string run() {
    try {
      Merger merger(job(), options, progress, {});
      const MergeReport report = merger.merge([](const PlanReport&) { return true; });
      return report.state == JournalState::kDone ? "" : "not done";
    } catch (const Error& error) {
      return error.id() == MessageId::kAlreadyDone ? "" : error.what();
    }
  }
  void expect_the_same(const std::string& when) {
    for (const uint32_t id : kSiblings)
      ASSERT_EQ(first_difference(pool.view(id), views[id]), "") << "thin " << id << " " << when;
  }

  SimulatedWorld world;
  ThinPool pool{world, kThinBlocks, 4 * kThinBlocks};
  std::shared_ptr<SimulatedDirectory> directory = std::make_shared<SimulatedDirectory>(world);
  MergeOptions options;
  Progress progress;
  std::vector<std::shared_ptr<SiblingDevice>> opened;
  std::optional<uint64_t> broken_block;  // of each sibling
  std::function<void()> before_claim, on_closed, on_check;
  std::shared_ptr<ThinPool::Backup> committed;
  ThinPool::Contents expected;
  std::map<uint32_t, ThinPool::Contents> views;
};

TEST_F(KeptSiblings, ShowTheSameAfterAMergeAndGetNoMoreThanTheyNeed) {
  EXPECT_EQ(run(), "");
  EXPECT_EQ(first_difference(pool.origin().contents(), expected), "");
  expect_the_same("after the merge");
  ASSERT_EQ(opened.size(), 2u);
  EXPECT_EQ(opened[0]->blocks_written, 5u);
  EXPECT_EQ(opened[1]->blocks_written, 4u) << "it maps block 2";
}

TEST_F(KeptSiblings, AreHarmedWithoutTheOptionAndAMergeIsRefused) {
  options.overrides.keep_siblings = false;
  const ThinPool::Contents before = pool.origin().contents();
  EXPECT_NE(run().find("would change"), std::string::npos);
  EXPECT_EQ(first_difference(pool.origin().contents(), before), "");
}

TEST_F(KeptSiblings, OfAnUnknownKindAreRefused) {
  Job unknown = job();
  unknown.origin_users.reset();
  Merger merger(unknown, options, progress, {});
  try {
    merger.plan();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kUsage);
  }
}

TEST_F(KeptSiblings, AFailedWriteEndsTheMergeBeforeTheOriginChanges) {
  const ThinPool::Contents before = pool.origin().contents();
  world.fail_at(world.operations() + 3, Fault{.for_ever = true});
  EXPECT_NE(run(), "");
  EXPECT_EQ(first_difference(pool.origin().contents(), before), "");
}

TEST_F(KeptSiblings, OneFailedCopyIsTheFailureThatIsReported) {
  const ThinPool::Contents before = pool.origin().contents();
  broken_block = 6;
  const std::string said = run();
  EXPECT_NE(said.find("cannot write sibling"), std::string::npos) << said;
  EXPECT_EQ(first_difference(pool.origin().contents(), before), "");
  expect_the_same("after the failure");
}

TEST_F(KeptSiblings, KeepWhatWasWrittenToThemJustBeforeTheyWereClaimed) {
  before_claim = [this] {
    pool.write(2, 6);
    views[2] = pool.view(2);
  };
  EXPECT_EQ(run(), "");
  expect_the_same("after the merge");
  EXPECT_EQ(opened[0]->blocks_written, 4u);
}

TEST_F(KeptSiblings, AreLetGoBeforeTheOriginIsWritten) {
  const ThinPool::Contents before = pool.origin().contents();
  unsigned closed = 0;
  on_closed = [&] {
    ++closed;
    EXPECT_EQ(opened[0]->blocks_written, 5u);
    EXPECT_EQ(first_difference(pool.origin().contents(), before), "");
  };
  EXPECT_EQ(run(), "");
  EXPECT_EQ(closed, 1u);
}

TEST_F(KeptSiblings, GetNothingOnceTheOriginIsTakenBack) {
  on_check = [this] {
    if (!opened.empty() && opened[0]->blocks_written == 0)
      throw Error(MessageId::kOriginTakenBack, "taken back", "");
  };
  EXPECT_EQ(run(), "taken back");
  EXPECT_EQ(opened[0]->blocks_written + opened[1]->blocks_written, 0u);
}

TEST_F(KeptSiblings, ShowTheSameAfterAPowerCutAnywhere) {
  constexpr Survivors kOutcomes[] = {Survivors::kNone, Survivors::kAll, Survivors::kRandom};
  world.restart(Survivors::kAll, 1);
  const SimulatedWorld::Saved saved = world.save();
  const std::shared_ptr<ThinPool::Backup> before = committed;
  uint64_t cuts = 0;
  for (uint64_t index = 0;; index += kStride) {
    world.put_back(saved);
    pool.restore(*before);
    committed = before;
    world.restart(Survivors::kNone, 1);
    world.cut_power_at(index);
    run();
    if (!world.power_is_cut()) break;
    ++cuts;
    const std::string when = "after a cut at operation " + std::to_string(index);
    world.restart(kOutcomes[index % std::size(kOutcomes)], index);
    pool.restore(*committed);
    ASSERT_NO_FATAL_FAILURE(expect_the_same(when));
    pool.commit();
    ASSERT_EQ(run(), "") << when;
    ASSERT_EQ(first_difference(pool.origin().contents(), expected), "") << when;
    ASSERT_NO_FATAL_FAILURE(expect_the_same(when + " and another run"));
  }
  EXPECT_GT(cuts, 40u / kStride);
}

}  // namespace
}  // namespace extmerge
