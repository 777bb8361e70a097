// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/transfer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <functional>
#include <vector>

namespace extmerge {
namespace {

// A device with only a block size and scripted results.
class ScriptedDevice : public BlockDevice {
 public:
  explicit ScriptedDevice(uint64_t block_size = 512) : block_size_(block_size) {}
  const std::string& name() const override { return name_; }
  Bytes size() const override { return Bytes(uint64_t{1} << 30); }
  Bytes logical_block_size() const override { return Bytes(block_size_); }
  std::unique_ptr<AsyncQueue> make_queue(unsigned) override { return nullptr; }
  int flush() override { return 0; }
  void resize(Bytes) override {}
  void drop_cache() override {}

 private:
  std::string name_ = "/dev/scripted";
  uint64_t block_size_;
};

// Answers each request by `answer`, and remembers the requests.
class ScriptedQueue : public AsyncQueue {
 public:
  using Answer = std::function<int64_t(const IoRequest&)>;
  explicit ScriptedQueue(Answer answer) : answer_(std::move(answer)) {}
  void submit(std::span<IoRequest> requests) override {
    for (IoRequest& request : requests) {
      seen.push_back(request);
      started_.push_back(&request);
    }
  }
  void wait() override {
    for (IoRequest* request : started_) request->result = answer_(*request);
    started_.clear();
  }
  bool idle() const { return started_.empty(); }

  std::vector<IoRequest> seen;

 private:
  Answer answer_;
  std::vector<IoRequest*> started_;
};

// The answers in order, then full success.
ScriptedQueue::Answer in_order(std::deque<int64_t> answers) {
  return [answers = std::move(answers)](const IoRequest& request) mutable {
    if (answers.empty()) return static_cast<int64_t>(request.memory.size());
    const int64_t answer = answers.front();
    answers.pop_front();
    return answer;
  };
}

class Transfer : public testing::Test {
 protected:
  std::vector<std::byte> memory_ = std::vector<std::byte>(8192);
  IoRequest read(uint64_t offset, size_t length) {
    return {Direction::kRead, Bytes(offset), std::span(memory_).first(length)};
  }
  IoRequest write(uint64_t offset, size_t length) {
    return {Direction::kWrite, Bytes(offset), std::span(memory_).first(length)};
  }
  ScriptedDevice device_;
};

TEST_F(Transfer, InFullIsNoFailureAndAskedForOnce) {
  ScriptedQueue queue(in_order({}));
  std::vector<IoRequest> requests = {read(0, 4096), write(8192, 512)};
  EXPECT_FALSE(transfer(device_, queue, requests));
  EXPECT_EQ(queue.seen.size(), 2u);
}

TEST_F(Transfer, ThatIsShortGoesOnWhereItStopped) {
  ScriptedQueue queue(in_order({1024, 2048}));
  IoRequest request = write(65536, 4096);
  EXPECT_FALSE(transfer(device_, queue, {&request, 1}));
  ASSERT_EQ(queue.seen.size(), 3u);
  EXPECT_EQ(queue.seen[1].direction, Direction::kWrite);
  EXPECT_EQ(queue.seen[1].offset, Bytes(65536 + 1024));
  EXPECT_EQ(queue.seen[1].memory.data(), memory_.data() + 1024);
  EXPECT_EQ(queue.seen[1].memory.size(), 3072u);
  EXPECT_EQ(queue.seen[2].offset, Bytes(65536 + 3072));
  EXPECT_EQ(queue.seen[2].memory.size(), 1024u);
  EXPECT_EQ(request.result, 4096);
}

TEST_F(Transfer, ThatStopsInsideABlockGoesOnAtThatBlocksStart) {
  ScriptedQueue queue(in_order({1000}));
  IoRequest request = read(0, 4096);
  EXPECT_FALSE(transfer(device_, queue, {&request, 1}));
  ASSERT_EQ(queue.seen.size(), 2u);
  EXPECT_EQ(queue.seen[1].offset, Bytes(512));
  EXPECT_EQ(queue.seen[1].memory.size(), 3584u);
}

TEST_F(Transfer, WithoutProgressMeansTheDeviceEndedEarly) {
  ScriptedQueue reads(in_order({2048, 0}));
  IoRequest request = read(4096, 4096);
  auto failure = transfer(device_, reads, {&request, 1});
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, ENODATA);
  EXPECT_EQ(failure->offset, Bytes(6144));
  EXPECT_EQ(failure->direction, Direction::kRead);

  ScriptedQueue writes(in_order({0}));
  request = write(4096, 4096);
  failure = transfer(device_, writes, {&request, 1});
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, ENOSPC);
  EXPECT_EQ(failure->direction, Direction::kWrite);
}

TEST_F(Transfer, OfLessThanABlockIsNoProgress) {
  ScriptedDevice device(4096);
  ScriptedQueue queue([](const IoRequest&) { return 512; });
  IoRequest request = write(0, 8192);
  const auto failure = transfer(device, queue, {&request, 1});
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, ENOSPC);
  EXPECT_EQ(queue.seen.size(), 1u);
}

TEST_F(Transfer, ThatWasInterruptedIsRepeated) {
  ScriptedQueue queue(in_order({-EINTR, -EAGAIN, 512, -EINTR}));
  IoRequest request = read(0, 4096);
  EXPECT_FALSE(transfer(device_, queue, {&request, 1}));
  EXPECT_EQ(queue.seen.size(), 5u);
  EXPECT_EQ(queue.seen[2].offset, Bytes(0));
  EXPECT_EQ(queue.seen[4].offset, Bytes(512));
}

TEST_F(Transfer, ThatIsPutOffForEverFailsInTheEnd) {
  ScriptedQueue queue([](const IoRequest&) { return -EAGAIN; });
  IoRequest request = read(512, 512);
  const auto failure = transfer(device_, queue, {&request, 1});
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, EAGAIN);
  EXPECT_LE(queue.seen.size(), 20u);
  EXPECT_EQ(request.result, -EAGAIN);
}

TEST_F(Transfer, ThatFailedIsNotRepeated) {
  ScriptedQueue queue(in_order({-EIO}));
  IoRequest request = write(1536, 512);
  const auto failure = transfer(device_, queue, {&request, 1});
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, EIO);
  EXPECT_EQ(queue.seen.size(), 1u);
}

TEST_F(Transfer, TellsTheFailureWithTheLowestOffsetAndStillFinishesTheOthers) {
  ScriptedQueue queue([](const IoRequest& request) -> int64_t {
    if (request.offset == Bytes(8192)) return -EIO;
    if (request.offset == Bytes(4096)) return -EREMOTEIO;
    if (request.memory.size() == 4096) return 512;  // at 0 and 12288: short at first
    return static_cast<int64_t>(request.memory.size());
  });
  std::vector<IoRequest> requests = {read(8192, 4096), read(0, 4096), read(4096, 4096),
                                     read(12288, 4096)};
  const auto failure = transfer(device_, queue, requests);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->offset, Bytes(4096));
  EXPECT_EQ(failure->error_number, EREMOTEIO);
  EXPECT_EQ(requests[0].result, -EIO);
  EXPECT_EQ(requests[1].result, 4096);
  EXPECT_EQ(requests[3].result, 4096);
  EXPECT_TRUE(queue.idle());
}

TEST_F(Transfer, OfOneRangeThrowsWhatFailedAndWhere) {
  ScriptedQueue queue([](const IoRequest&) { return -EIO; });
  try {
    read_fully(device_, queue, Bytes(1048576), std::span(memory_).first(512));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kReadFailed);
    EXPECT_STREQ(error.what(),
                 "cannot read /dev/scripted at byte 1048576 (sector 2048): Input/output error");
  }
  try {
    write_fully(device_, queue, Bytes(0), std::span(memory_).first(512));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kWriteFailed);
    EXPECT_EQ(error.exit_status(), 7);
  }
}

TEST_F(Transfer, RefusedForLackOfPermissionPointsToAReloadedTable) {
  const Error error = io_error(device_, {Direction::kWrite, Bytes(0), EPERM});
  EXPECT_NE(error.next().find("read-only"), std::string::npos);
}

}  // namespace
}  // namespace extmerge
