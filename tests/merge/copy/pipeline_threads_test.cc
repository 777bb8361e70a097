// SPDX-License-Identifier: GPL-3.0-or-later
//
// Pieces that overtake each other, stops, the rate limit, and blocks larger than the copy's memory.

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <random>
#include <thread>

#include "tests/merge/copy/pipeline_fixture.h"
#include "tests/support/merge_scene.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Kind = OperationKind;

// Opens once `wanted` threads have arrived; gives up after ten seconds.
class Gate {
 public:
  explicit Gate(unsigned wanted) : wanted_(wanted) {}
  void arrive() {
    std::unique_lock guard(lock_);
    ++here_;
    most_ = std::max(most_, here_);
    arrived_.notify_all();
    arrived_.wait_for(guard, 10s, [this] { return most_ >= wanted_; });
    --here_;
  }
  unsigned most() {
    const std::lock_guard guard(lock_);
    return most_;
  }

 private:
  const unsigned wanted_;
  std::mutex lock_;
  std::condition_variable arrived_;
  unsigned here_ = 0;
  unsigned most_ = 0;
};

TEST(PipelineThreads, AsManyPiecesAreReadAtOnceAsThereAreThreadsWhateverTheProcessors) {
  for (const unsigned threads : {1u, 3u, 12u}) {
    CopyScene scene(scattered_shape(60, 1));
    Gate gate(threads);
    DeviceInFront data(scene.data());
    data.before_wait = [&] { gate.arrive(); };
    scene.put_before(&data, nullptr);
    PipelineOptions options = small_pieces(CompareMode::kNever, threads);
    options.buffer_size = Bytes(64 << 10);
    scene.copy(options);
    EXPECT_EQ(gate.most(), threads);
    EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
  }
}

void sleep_by_chance() {
  thread_local std::mt19937 random(std::random_device{}());
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 8 == 0 ? random() % 2000 : 0));
}

TEST(PipelineThreads, PiecesThatOvertakeEachOtherAreCommittedInOrder) {
  for (uint64_t seed = 1; seed <= 8; seed += (kStride + 31) / 32) {
    CopyShape shape = scattered_shape(50, seed);
    shape.percent_equal = 20;
    CopyScene scene(shape);
    scene.watch_records();
    DeviceInFront data(scene.data());
    DeviceInFront origin(scene.origin());
    data.before_wait = origin.before_wait = origin.before_flush = sleep_by_chance;
    scene.put_before(&data, &origin);
    PipelineOptions options = small_pieces(CompareMode::kAlways, 6);
    options.checkpoint_bytes = Bytes(64 << 10);
    scene.copy(options);
    EXPECT_EQ(scene.complaints(), "");
    EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
    for (size_t i = 1; i < scene.records().size(); ++i) {
      EXPECT_LT(scene.records()[i - 1].position, scene.records()[i].position);
    }
  }
}

TEST(PipelineThreads, TheCopyGoesOnWhileTheOriginIsFlushed) {
  CopyScene scene(scattered_shape(60, 2));
  DeviceInFront origin(scene.origin());
  // The eighth write does not end before the first flush has begun. The flush does not end before
  // eight more writes have begun than can be in flight.
  std::atomic<unsigned> writes = 0;
  std::atomic<bool> flushing = false;
  std::atomic<bool> went_on = false;
  const auto wait_until = [](const auto& condition) {
    const auto give_up = Clock::now() + 10s;
    while (!condition() && Clock::now() < give_up) std::this_thread::sleep_for(1ms);
    return condition();
  };
  origin.before_wait = [&] {
    if (++writes >= 8) wait_until([&] { return flushing.load(); });
  };
  origin.before_flush = [&] {
    if (flushing.exchange(true)) return;
    went_on = wait_until([&] { return writes >= 8 + 10; });
  };
  scene.put_before(nullptr, &origin);
  scene.watch_records();
  PipelineOptions options = small_pieces(CompareMode::kNever, 2);
  scene.copy(options);
  EXPECT_TRUE(went_on);
  EXPECT_EQ(scene.complaints(), "");
  EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
}

TEST(PipelineThreads, AFailedCheckpointEndsTheCopyAtOnceAndNotAtItsEnd) {
  CopyScene scene(scattered_shape(60, 2));
  DeviceInFront origin(scene.origin());
  std::atomic<unsigned> writes = 0;
  std::atomic<bool> failing = false;
  scene.world().on_operation([&](const Operation& o) {
    if (o.kind != Kind::kFlush) return;
    scene.world().fail_at(scene.world().operations(), {});
    failing = true;
  });
  origin.before_wait = [&] {
    if (++writes < 8) return;
    const auto give_up = Clock::now() + 10s;
    while (!failing && Clock::now() < give_up) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);  // time for the failure to spread
  };
  scene.put_before(nullptr, &origin);
  EXPECT_EQ(scene.try_copy(small_pieces(CompareMode::kNever, 2)), MessageId::kFlushFailed);
  EXPECT_LT(scene.progress().done_bytes, scene.planned() / 2);
  EXPECT_EQ(scene.recorded(), std::nullopt);
}

TEST(PipelineThreads, AStopAtAnyMomentIsRecordedTruthfullyAndCanBeResumed) {
  const CopyShape shape = scattered_shape(20, 6);
  const PipelineOptions options = small_pieces(CompareMode::kAlways, 3);
  CopyScene counted(shape);
  counted.copy(options);
  unsigned stopped = 0;
  for (uint64_t i = 0; i < counted.world().operations(); i += kShortStride) {
    CopyScene scene(shape);
    std::stop_source stop;
    scene.world().on_operation([&](const Operation&) {
      if (scene.world().operations() == i) stop.request_stop();
    });
    const auto id = scene.try_copy(options, {}, stop.get_token());
    const uint64_t position = scene.recorded().value();
    EXPECT_EQ(id.has_value(), position < scene.planned()) << "stopped only if something is left";
    if (id) {
      ++stopped;
      EXPECT_EQ(id, MessageId::kStopped);
      EXPECT_EQ(scene.progress().done_bytes, position) << "all that is complete is recorded";
    }
    EXPECT_EQ(scene.untruth(scene.origin().durable_contents(), position), "");
    scene.copy(options, {Bytes(position), {}});
    EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
  }
  EXPECT_GT(stopped * kShortStride, 10u);
}

TEST(PipelineThreads, AStopBeforeTheStartCopiesNothingAndSaysHowFarItCame) {
  CopyScene scene(scattered_shape(20, 6));
  std::stop_source stop;
  stop.request_stop();
  try {
    scene.copy(small_pieces(), {}, stop.get_token());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kStopped);
    const std::string text = error.what();
    EXPECT_NE(text.find("0 of " + std::to_string(scene.planned())), std::string::npos) << text;
  }
  EXPECT_EQ(first_difference(scene.origin().contents(), scene.first_origin()), "");
}

TEST(PipelineThreads, AStopAfterTheLastPieceWasTakenIsNoFailure) {
  CopyScene scene(scattered_shape(20, 6));
  std::stop_source stop;
  // The only piece is in flight, so a stop has no effect.
  scene.world().on_operation([&](const Operation& o) {
    if (o.kind == Kind::kWrite) stop.request_stop();
  });
  PipelineOptions options = small_pieces();
  options.buffer_size = Bytes(8 << 20);
  EXPECT_EQ(scene.try_copy(options, {}, stop.get_token()), std::nullopt);
  EXPECT_EQ(scene.recorded(), scene.planned());
}

TEST(PipelineThreads, AStopWakesTheRateLimit) {
  CopyShape shape = scattered_shape(20, 6);
  // A piece of a buffered file is at least a sector, not a byte.
  shape.data_logical_block = shape.origin_logical_block = 1;
  CopyScene scene(shape);
  PipelineOptions options = small_pieces();
  options.rate_limit = Bytes(1);  // a sector in eight and a half minutes
  std::atomic<bool> has_written = false;
  scene.world().on_operation(
      [&](const Operation& o) { has_written = has_written || o.kind == Kind::kWrite; });
  std::stop_source stop;
  Clock::time_point requested;
  std::jthread stopper([&] {
    const auto give_up = Clock::now() + 10s;
    while (!has_written && Clock::now() < give_up) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(50ms);  // time for the copy to wait for its next sector
    requested = Clock::now();
    stop.request_stop();
  });
  EXPECT_EQ(scene.try_copy(options, {}, stop.get_token()), MessageId::kStopped);
  const auto returned = Clock::now();
  stopper.join();
  EXPECT_LT(returned - requested, 5s);
  EXPECT_EQ(scene.recorded(), 512u) << "the first sector";
}

TEST(PipelineThreads, AFailureWakesTheRateLimit) {
  CopyScene scene(scattered_shape(20, 6));
  PipelineOptions options = small_pieces();
  options.rate_limit = Bytes(1);
  scene.world().fail_at(1, {});  // the write of the first sector
  const auto start = Clock::now();
  EXPECT_EQ(scene.try_copy(options), MessageId::kWriteFailed);
  EXPECT_LT(Clock::now() - start, 5s);
}

TEST(PipelineThreads, ALimitedCopyNeverPassesMoreThanATenthOfASecondAtOnce) {
  CopyScene scene(scattered_shape(8, 3));
  const double rate = 4.0 * static_cast<double>(scene.planned());  // a quarter of a second
  PipelineOptions options = small_pieces(CompareMode::kNever, 4);
  options.buffer_size = Bytes(1 << 20);
  options.rate_limit = Bytes(static_cast<uint64_t>(rate));
  uint64_t read = 0;
  const auto start = Clock::now();
  std::string complaint;
  scene.world().on_operation([&](const Operation& o) {
    if (o.kind != Kind::kRead) return;
    read += o.length.value();
    const double time = std::chrono::duration<double>(Clock::now() - start).count();
    if (static_cast<double>(read) > rate * (time + 0.1) + 4096)
      complaint = std::to_string(read) + " bytes after " + std::to_string(time) + " s";
    if (o.length.value() > options.rate_limit->value() / 10) complaint = "a piece is too large";
  });
  scene.copy(options);
  EXPECT_EQ(complaint, "");
  EXPECT_GE(Clock::now() - start, 140ms);
  EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
}

// Disks of any size without memory. The data disk holds the numbers of its 8-byte words, and the
// origin checks each write.
class EndlessDisk : public BlockDevice {
 public:
  EndlessDisk(Bytes size, Bytes shift) : size_(size), shift_(shift) {}

  const std::string& name() const override { return name_; }
  Bytes size() const override { return size_; }
  Bytes logical_block_size() const override { return Bytes(512); }
  std::unique_ptr<AsyncQueue> make_queue(unsigned) override {
    return std::make_unique<Queue>(*this);
  }
  int flush() override { return 0; }
  void resize(Bytes) override {}
  void drop_cache() override {}

  std::atomic<uint64_t> written = 0;
  std::atomic<uint64_t> wrong = 0;
  std::atomic<uint64_t> longest = 0;

 private:
  class Queue : public AsyncQueue {
   public:
    explicit Queue(EndlessDisk& disk) : disk_(disk) {}
    void submit(std::span<IoRequest> requests) override {
      for (IoRequest& request : requests) disk_.carry_out(request);
    }
    void wait() override {}

   private:
    EndlessDisk& disk_;
  };

  void carry_out(IoRequest& request) {
    if (request.memory.size() > longest) longest = request.memory.size();
    const bool write = request.direction == Direction::kWrite;
    uint64_t word = (request.offset + shift_).value() / 8;
    for (size_t at = 0; at < request.memory.size(); at += 8, ++word) {
      if (!write) {
        std::memcpy(&request.memory[at], &word, 8);
      } else if (std::memcmp(&request.memory[at], &word, 8) != 0) {
        ++wrong;
      }
    }
    if (write) written += request.memory.size();
    request.result = static_cast<int64_t>(request.memory.size());
  }

  const std::string name_ = "endless";
  const Bytes size_;
  const Bytes shift_;
};

TEST(PipelineThreads, BlocksOfOneGiBAreCutIntoPieces) {
  constexpr uint64_t kGiB = 1 << 30;
  // One whole block and a sector of the next, from the data's blocks 5 and 6.
  EndlessDisk data(Bytes(8 * kGiB), Bytes(0));
  EndlessDisk origin(Bytes(2 * kGiB + 512), Bytes(4 * kGiB));
  ListedRuns runs({make_run(1, 5, 2)});
  ExtentSource extents(runs, {DataBlockSize(Bytes(kGiB)), Bytes(2 * kGiB + 512), {}});
  LastRecord sink;
  Progress progress;
  PipelineOptions options;
  options.compare = CompareMode::kNever;
  const JournalProgress end =
      copy_extents({data, origin, extents, {}}, options, sink, progress, {});
  EXPECT_EQ(end.position.value(), kGiB + 512);
  EXPECT_EQ(origin.written, kGiB + 512);
  EXPECT_EQ(origin.wrong, 0u);
  EXPECT_LE(data.longest, options.io_size.value());
  EXPECT_EQ(sink.position, Bytes(kGiB + 512));
}

TEST(PipelineThreads, OneMiBBlocksLargerThanTheBufferAreCutToo) {
  CopyShape shape;
  shape.block_size = 1 << 20;
  shape.runs = {make_run(0, 2, 1), make_run(2, 0, 1)};
  shape.data_blocks = 3;
  shape.origin_size = (3 << 20) - 1536;
  CopyScene scene(shape);
  scene.watch_records();
  scene.copy(small_pieces(CompareMode::kAlways, 3));
  EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
  EXPECT_EQ(scene.complaints(), "");
}

}  // namespace
}  // namespace extmerge
