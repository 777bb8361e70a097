// SPDX-License-Identifier: GPL-3.0-or-later
//
// --keep-siblings on simulated disks: what siblings show stays the same before, during and after a
// merge, also after a power cut at any moment.

#include "merge/copy/copy_up.h"

#include <gtest/gtest.h>

#include <algorithm>
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
constexpr uint64_t kUnits = 12;  // of origin and thins
constexpr uint64_t kUnit = ThinPool::kBlockSize;

// A thin of the simulated pool. It takes whole blocks, each of which gets a new data block. The
// pool knows a new mapping after the data is written, and keeps it over a power cut after a commit:
// with a flush, and by itself with every third block.
class SiblingDevice : public BlockDevice {
 public:
  SiblingDevice(ThinPool& pool, uint32_t id, std::function<void()> committed)
      : pool_(pool), id_(id), committed_(std::move(committed)) {}

  const std::string& name() const override { return name_; }
  Bytes size() const override { return pool_.thin_size(); }
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
    const uint64_t size = pool_.block_size();
    const uint64_t block = request.offset.value() / size;
    EXPECT_EQ(request.direction, Direction::kWrite);
    EXPECT_EQ(request.offset.value() % size, 0u);
    EXPECT_EQ(request.memory.size(), std::min(size, this->size().value() - block * size));
    const auto before = pool_.back_up();
    if (block == broken_block) {
      request.result = -EIO;
      return;
    }
    const uint64_t data = pool_.provision(id_, block);
    IoRequest inner{Direction::kWrite, Bytes(data * size), request.memory};
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

// The block sizes of the merge's pool and of two others, in units of 64 KiB. A block of three units
// fits neither into the others nor into the origin.
struct Sizes {
  uint64_t own, first, second;
};

// Siblings 2, 3 and 4 in each pool. The merge maps all blocks of 4, and some of 3.
class KeptSiblings : public testing::TestWithParam<Sizes> {
 protected:
  struct Pool {
    ThinPool thins;
    std::shared_ptr<ThinPool::Backup> committed{};
    std::map<uint32_t, ThinPool::Contents> views{};
    std::vector<std::shared_ptr<SiblingDevice>> opened{};
  };

  KeptSiblings() {
    options.overrides.keep_siblings = true;
    options.pipeline.buffer_size = Bytes(GetParam().own * kUnit);
    options.pipeline.io_size = Bytes(kUnit / 2);
    options.pipeline.checkpoint_bytes = Bytes(kUnit);
    options.pipeline.threads = 2;
    pools.emplace(
        "", Pool{ThinPool(world, kUnits, data_blocks(GetParam().own), 1, GetParam().own * kUnit)});
    ThinPool& own = pools.at("").thins;
    own.create(kFreeze);
    for (const uint64_t unit : kWritten) own.write(kFreeze, unit / GetParam().own);
    expected = own.view(kFreeze);
    const std::pair<const char*, uint64_t> others[] = {{"first", GetParam().first},
                                                       {"second", GetParam().second}};
    for (const auto& [name, size] : others)
      pools.emplace(name, Pool{ThinPool(world, own, name, size * kUnit, data_blocks(size))});
    for (auto& [name, pool] : pools) add_siblings(pool);
  }

  static uint64_t data_blocks(uint64_t size) { return 4 * (kUnits / size + 1); }
  static uint64_t units(const Pool& pool) { return pool.thins.block_size() / kUnit; }
  // Whether the merge writes to a byte of that block.
  bool is_planned(const Pool& pool, uint64_t block) const {
    return std::ranges::any_of(kWritten, [&](uint64_t unit) {
      const uint64_t from = unit / GetParam().own * GetParam().own, to = from + GetParam().own;
      return from < (block + 1) * units(pool) && block * units(pool) < to;
    });
  }
  void add_siblings(Pool& pool) {
    const uint64_t blocks = (kUnits + units(pool) - 1) / units(pool);
    for (const uint32_t id : {2u, 3u, 4u}) pool.thins.create(id);
    for (uint64_t block = 0; block < blocks; ++block) {
      if (block % 3 == 1) pool.thins.write(3, block);
      if (is_planned(pool, block)) pool.thins.write(4, block);
    }
    pool.thins.commit();
    pool.committed = pool.thins.back_up();
    for (const uint32_t id : {2u, 3u, 4u}) pool.views[id] = pool.thins.view(id);
  }
  // The blocks that sibling 2 or 3 needs, counted one by one.
  uint64_t needed_by(const Pool& pool, uint32_t id) const {
    uint64_t count = 0;
    for (uint64_t block = 0; block * units(pool) < kUnits; ++block) {
      const bool is_mapped = id == 4 || (id == 3 && block % 3 == 1);
      count += is_planned(pool, block) && !is_mapped;
    }
    return count;
  }

  Job job() {
    Job job = pools.at("").thins.job(directory, kFreeze);
    job.origin_users.emplace();
    for (const auto& [name, pool] : pools) {
      for (const uint32_t id : {2u, 3u, 4u})
        job.origin_users->push_back(
            {ThinId{id}, "vg/" + name + std::to_string(id), name.empty(), name});
    }
    SceneCustody& custody = custody_of(job);
    custody.on_reserve = [this] { pools.at("").thins.commit(); };
    custody.on_reserve_pool = [this](const std::string& name) {
      EXPECT_EQ(held, "");
      held = name;
      pools.at(name).thins.commit();
      const Job facts = pools.at(name).thins.job(directory, 2);
      return PoolDevices{facts.metadata, facts.data};
    };
    custody.on_release_pool = [this] { held.clear(); };
    custody.on_open = [this, open = custody.on_open](const DeviceFacts& facts, OpenMode mode,
                                                     Bytes ends) -> std::shared_ptr<BlockDevice> {
      for (const auto& [name, pool] : pools) {
        if (facts.path == pool.thins.metadata()->name()) return pool.thins.metadata();
      }
      return open(facts, mode, ends);
    };
    custody.on_check = on_check;
    custody.on_siblings_closed = on_closed;
    custody.on_siblings = [this](const std::string& name, const std::vector<ThinId>& ids) {
      if (before_claim) before_claim(name);
      EXPECT_EQ(held, "") << "a sibling is claimed before its mappings are read";
      Pool& pool = pools.at(name);
      pool.opened.clear();
      SceneCustody::Devices devices;
      for (const ThinId id : ids) {
        pool.opened.push_back(std::make_shared<SiblingDevice>(
            pool.thins, value(id), [&pool] { pool.committed = pool.thins.back_up(); }));
        pool.opened.back()->broken_block = broken_block;
        devices.push_back(pool.opened.back());
      }
      return devices;
    };
    return job;
  }
  // "" if it says done.
  std::string run() {
    held.clear();
    try {
      Merger merger(job(), options, progress, {});
      const MergeReport report = merger.merge([](const PlanReport&) { return true; });
      return report.state == JournalState::kDone ? "" : "not done";
    } catch (const Error& error) {
      return error.id() == MessageId::kAlreadyDone ? "" : error.what();
    }
  }
  ThinPool::Contents origin() { return pools.at("").thins.origin().contents(); }
  void expect_the_same(const std::string& when) {
    for (const auto& [name, pool] : pools) {
      for (const auto& [id, view] : pool.views) {
        ASSERT_EQ(first_difference(pool.thins.view(id), view), "")
            << "thin " << id << " of pool '" << name << "' " << when;
      }
    }
  }
  std::map<std::string, std::shared_ptr<ThinPool::Backup>> all_committed() const {
    std::map<std::string, std::shared_ptr<ThinPool::Backup>> backups;
    for (const auto& [name, pool] : pools) backups[name] = pool.committed;
    return backups;
  }

  inline static const std::vector<uint64_t> kWritten = {1, 2, 5, 7, 11};
  SimulatedWorld world;
  std::map<std::string, Pool> pools;
  std::shared_ptr<SimulatedDirectory> directory = std::make_shared<SimulatedDirectory>(world);
  MergeOptions options;
  Progress progress;
  std::string held;  // the other pool whose metadata snapshot is held
  ThinPool::Contents expected;
  std::optional<uint64_t> broken_block;  // of each sibling
  std::function<void(const std::string& pool)> before_claim;
  std::function<void()> on_closed, on_check;
};

INSTANTIATE_TEST_SUITE_P(BlocksOf, KeptSiblings,
                         testing::Values(Sizes{1, 1, 3}, Sizes{3, 1, 2}, Sizes{2, 3, 8}),
                         [](const auto& sizes) {
                           return std::to_string(sizes.param.own) + "And" +
                                  std::to_string(sizes.param.first) + "And" +
                                  std::to_string(sizes.param.second);
                         });

TEST_P(KeptSiblings, ShowTheSameAfterAMergeAndGetNoMoreThanTheyNeed) {
  Merger merger(job(), options, progress, {});
  const PlanReport plan = merger.plan();
  for (const Sibling& sibling : plan.siblings) {
    const Pool& pool = pools.at(sibling.pool);
    EXPECT_EQ(sibling.harmed_blocks, needed_by(pool, value(sibling.id))) << sibling.name;
    EXPECT_EQ(sibling.block_size.bytes(), Bytes(pool.thins.block_size())) << sibling.name;
  }
  EXPECT_EQ(plan.siblings.size(), 9u);
  EXPECT_EQ(run(), "");
  EXPECT_EQ(first_difference(origin(), expected), "");
  expect_the_same("after the merge");
  for (const auto& [name, pool] : pools) {
    ASSERT_EQ(pool.opened.size(), 2u) << name;
    EXPECT_EQ(pool.opened[0]->blocks_written, needed_by(pool, 2)) << name;
    EXPECT_EQ(pool.opened[1]->blocks_written, needed_by(pool, 3)) << name;
  }
  EXPECT_EQ(held, "");
}

TEST_P(KeptSiblings, AreHarmedWithoutTheOptionAndAMergeIsRefused) {
  options.overrides.keep_siblings = false;
  const ThinPool::Contents before = origin();
  EXPECT_NE(run().find("would change"), std::string::npos);
  EXPECT_EQ(first_difference(origin(), before), "");
}

TEST_P(KeptSiblings, OfAnUnknownKindAreRefused) {
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

TEST_P(KeptSiblings, AFailedWriteEndsTheMergeBeforeTheOriginChanges) {
  const ThinPool::Contents before = origin();
  world.fail_at(world.operations() + 3, Fault{.for_ever = true});
  EXPECT_NE(run(), "");
  EXPECT_EQ(first_difference(origin(), before), "");
}

TEST_P(KeptSiblings, OneFailedCopyIsTheFailureThatIsReported) {
  const ThinPool::Contents before = origin();
  broken_block = 5 / GetParam().own * GetParam().own / units(pools.at("first"));
  const std::string said = run();
  EXPECT_NE(said.find("cannot write sibling"), std::string::npos) << said;
  EXPECT_EQ(first_difference(origin(), before), "");
  expect_the_same("after the failure");
}

TEST_P(KeptSiblings, KeepWhatWasWrittenToThemJustBeforeTheyWereClaimed) {
  before_claim = [this](const std::string& name) {
    Pool& pool = pools.at(name);
    const uint64_t block = 5 / units(pool);
    pool.thins.write(2, block);
    pool.views[2] = pool.thins.view(2);
  };
  EXPECT_EQ(run(), "");
  expect_the_same("after the merge");
  for (const auto& [name, pool] : pools)
    EXPECT_EQ(pool.opened[0]->blocks_written, needed_by(pool, 2) - 1) << name;
}

TEST_P(KeptSiblings, AreLetGoBeforeTheOriginIsWritten) {
  const ThinPool::Contents before = origin();
  unsigned closed = 0;
  on_closed = [&] {
    ++closed;
    EXPECT_EQ(first_difference(origin(), before), "");
  };
  EXPECT_EQ(run(), "");
  EXPECT_EQ(closed, pools.size());
  for (const auto& [name, pool] : pools)
    EXPECT_EQ(pool.opened[0]->blocks_written, needed_by(pool, 2)) << name;
}

TEST_P(KeptSiblings, GetNothingOnceTheOriginIsTakenBack) {
  on_check = [this] {
    for (const auto& [name, pool] : pools) {
      if (!pool.opened.empty() && pool.opened[0]->blocks_written == 0)
        throw Error(MessageId::kOriginTakenBack, "taken back", "");
    }
  };
  EXPECT_EQ(run(), "taken back");
  for (const auto& [name, pool] : pools) {
    for (const auto& sibling : pool.opened) EXPECT_EQ(sibling->blocks_written, 0u) << name;
  }
}

TEST_P(KeptSiblings, ShowTheSameAfterAPowerCutAnywhere) {
  constexpr Survivors kOutcomes[] = {Survivors::kNone, Survivors::kAll, Survivors::kRandom};
  world.restart(Survivors::kAll, 1);
  const SimulatedWorld::Saved saved = world.save();
  const auto before = all_committed();
  uint64_t cuts = 0;
  for (uint64_t index = 0;; index += kStride) {
    world.put_back(saved);
    for (auto& [name, pool] : pools) {
      pool.thins.restore(*before.at(name));
      pool.committed = before.at(name);
    }
    world.restart(Survivors::kNone, 1);
    world.cut_power_at(index);
    run();
    if (!world.power_is_cut()) break;
    ++cuts;
    const std::string when = "after a cut at operation " + std::to_string(index);
    world.restart(kOutcomes[index % std::size(kOutcomes)], index);
    for (auto& [name, pool] : pools) pool.thins.restore(*pool.committed);
    ASSERT_NO_FATAL_FAILURE(expect_the_same(when));
    for (auto& [name, pool] : pools) pool.thins.commit();
    ASSERT_EQ(run(), "") << when;
    ASSERT_EQ(first_difference(origin(), expected), "") << when;
    ASSERT_NO_FATAL_FAILURE(expect_the_same(when + " and another run"));
  }
  EXPECT_GT(cuts, 40u / kStride);
}

}  // namespace
}  // namespace extmerge
