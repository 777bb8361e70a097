// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/aio_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <vector>

#include "io/buffer.h"
#include "io/file_device.h"
#include "io/mount_table.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

// A fake kernel, controlled by the test. It carries out the requests in order when it is asked for
// events.
struct FakeKernel {
  unsigned most_events = 1000;         // io_setup() fails beyond that with EAGAIN
  int setup_error = 0;                 // always, if not 0
  std::deque<int> submit_answers;      // negative: the answer; positive: takes at most so many
  std::deque<int> get_events_answers;  // as for submit_answers
  std::vector<int> setups;
  std::vector<size_t> in_flight_before_submit;
  std::deque<iocb*> in_flight;
  size_t most_in_flight = 0;
  int get_events_error = 0;
  std::vector<int> kept;  // the number of events of each kept context
  size_t in_flight_when_kept = 0;
  bool destroyed = false;
};
FakeKernel* kernel = nullptr;

int take_answer(std::deque<int>& answers, long most) {
  if (answers.empty()) return static_cast<int>(most);
  const int answer = std::min(answers.front(), static_cast<int>(most));
  answers.pop_front();
  return answer;
}

AioCalls fake_calls() {
  AioCalls calls;
  calls.setup = [](int events, io_context_t*) {
    kernel->setups.push_back(events);
    if (kernel->setup_error != 0) return -kernel->setup_error;
    return static_cast<unsigned>(events) > kernel->most_events ? -EAGAIN : 0;
  };
  calls.submit = [](io_context_t, long count, iocb** blocks) {
    kernel->in_flight_before_submit.push_back(kernel->in_flight.size());
    const int taken = take_answer(kernel->submit_answers, count);
    for (int i = 0; i < taken; ++i) kernel->in_flight.push_back(blocks[i]);
    kernel->most_in_flight = std::max(kernel->most_in_flight, kernel->in_flight.size());
    return taken;
  };
  calls.get_events = [](io_context_t, long at_least, long at_most, io_event* events, timespec*) {
    if (kernel->get_events_error != 0) return -kernel->get_events_error;
    EXPECT_GE(static_cast<long>(kernel->in_flight.size()), at_least) << "would wait for ever";
    const long done = std::min(at_most, static_cast<long>(kernel->in_flight.size()));
    const int count = take_answer(kernel->get_events_answers, done);
    for (int i = 0; i < count; ++i) {
      iocb* const block = kernel->in_flight.front();
      kernel->in_flight.pop_front();
      events[i] = {};
      events[i].data = block->data;
      events[i].obj = block;
      events[i].res = block->u.c.nbytes;
    }
    return count;
  };
  calls.keep = [](int events, io_context_t) {
    kernel->kept.push_back(events);
    kernel->in_flight_when_kept = kernel->in_flight.size();
  };
  calls.destroy = [](io_context_t) {
    kernel->destroyed = true;
    return 0;
  };
  return calls;
}

class AioQueueOnAFakeKernel : public testing::Test {
 protected:
  AioQueueOnAFakeKernel() { kernel = &fake_; }
  ~AioQueueOnAFakeKernel() override { kernel = nullptr; }

  std::unique_ptr<AioQueue> make_queue(unsigned depth) {
    return std::make_unique<AioQueue>(std::make_shared<const FileDescriptor>(), "/dev/fake", depth,
                                      fake_calls());
  }
  std::vector<IoRequest> make_requests(size_t count) {
    std::vector<IoRequest> requests(count);
    for (size_t i = 0; i < count; ++i) {
      requests[i] = {Direction::kRead, Bytes(i * 512), memory_, -1};
    }
    return requests;
  }
  static size_t finished(const std::vector<IoRequest>& requests) {
    return static_cast<size_t>(std::count_if(requests.begin(), requests.end(),
                                             [](const IoRequest& r) { return r.result == 512; }));
  }

  FakeKernel fake_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(512);
};

TEST_F(AioQueueOnAFakeKernel, HalvesItsDepthUntilTheSystemHasEnough) {
  fake_.most_events = 20;
  const auto queue = make_queue(128);
  EXPECT_EQ(queue->depth(), 16u);
  EXPECT_EQ(fake_.setups, (std::vector<int>{128, 64, 32, 16}));
}

TEST_F(AioQueueOnAFakeKernel, IsUnavailableWhenNotEvenOneIsLeft) {
  fake_.most_events = 0;
  try {
    make_queue(5);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.id(), MessageId::kAioUnavailable);
    EXPECT_NE(error.next().find("fs.aio-max-nr"), std::string::npos);
    EXPECT_EQ(fake_.setups, (std::vector<int>{5, 2, 1}));
  }
}

TEST_F(AioQueueOnAFakeKernel, IsUnavailableAtOnceWhereTheKernelHasNoSuchCall) {
  fake_.setup_error = ENOSYS;
  EXPECT_EQ(thrown_by([&] { make_queue(64); }), MessageId::kAioUnavailable);
  EXPECT_EQ(fake_.setups.size(), 1u);
}

TEST_F(AioQueueOnAFakeKernel, OfNoDepthHasOne) { EXPECT_EQ(make_queue(0)->depth(), 1u); }

TEST_F(AioQueueOnAFakeKernel, NeverHasMoreInFlightThanItsDepth) {
  const auto queue = make_queue(4);
  std::vector<IoRequest> requests = make_requests(37);
  queue->submit(requests);
  queue->wait();
  EXPECT_EQ(finished(requests), 37u);
  EXPECT_EQ(fake_.most_in_flight, 4u);
  EXPECT_TRUE(fake_.in_flight.empty());
}

TEST_F(AioQueueOnAFakeKernel, StartsAgainWhereTheKernelStoppedTaking) {
  fake_.submit_answers = {3, 1, -EINTR, 2};
  const auto queue = make_queue(16);
  std::vector<IoRequest> requests = make_requests(10);
  queue->submit(requests);
  EXPECT_EQ(fake_.in_flight.size(), 10u);
  queue->wait();
  EXPECT_EQ(finished(requests), 10u);
}

TEST_F(AioQueueOnAFakeKernel, WaitsForAFinishedOneWhenTheKernelHasNoRoom) {
  fake_.submit_answers = {2, -EAGAIN};
  const auto queue = make_queue(16);
  std::vector<IoRequest> requests = make_requests(5);
  queue->submit(requests);
  EXPECT_EQ(fake_.in_flight_before_submit, (std::vector<size_t>{0, 2, 0}));
  queue->wait();
  EXPECT_EQ(finished(requests), 5u);
}

TEST_F(AioQueueOnAFakeKernel, GivesTheRequestBackWhenTheKernelHasNoRoomAtAll) {
  fake_.submit_answers = {-EAGAIN};
  const auto queue = make_queue(16);
  std::vector<IoRequest> requests = make_requests(3);
  queue->submit(requests);
  queue->wait();
  EXPECT_EQ(requests[0].result, -EAGAIN);
  EXPECT_EQ(finished(requests), 2u);
}

TEST_F(AioQueueOnAFakeKernel, LeavesOutARequestTheKernelRefuses) {
  fake_.submit_answers = {1, -EBADF};
  const auto queue = make_queue(16);
  std::vector<IoRequest> requests = make_requests(4);
  queue->submit(requests);
  queue->wait();
  EXPECT_EQ(requests[1].result, -EBADF);
  EXPECT_EQ(finished(requests), 3u);
}

TEST_F(AioQueueOnAFakeKernel, WaitsOnThroughSignalsAndFewEvents) {
  fake_.get_events_answers = {-EINTR, 1, -EINTR, 0, 2};
  const auto queue = make_queue(8);
  std::vector<IoRequest> requests = make_requests(8);
  queue->submit(requests);
  queue->wait();
  EXPECT_EQ(finished(requests), 8u);
}

TEST_F(AioQueueOnAFakeKernel, IsEmptyBeforeItGoesAway) {
  auto queue = make_queue(8);
  std::vector<IoRequest> requests = make_requests(6);
  queue->submit(requests);
  queue.reset();
  EXPECT_EQ(fake_.kept, std::vector{8});
  EXPECT_EQ(fake_.in_flight_when_kept, 0u);
  EXPECT_FALSE(fake_.destroyed);
  EXPECT_EQ(finished(requests), 6u);
}

TEST_F(AioQueueOnAFakeKernel, ThatCannotBeEmptiedIsNotKept) {
  auto queue = make_queue(8);
  std::vector<IoRequest> requests = make_requests(6);
  queue->submit(requests);
  fake_.get_events_error = EINVAL;
  queue.reset();
  EXPECT_TRUE(fake_.destroyed);
  EXPECT_TRUE(fake_.kept.empty());
}

TEST(AioContext, ThatIsKeptIsTakenAgainForAsManyEvents) {
  io_context_t first = nullptr, other = nullptr, again = nullptr;
  ASSERT_EQ(take_context(13, &first), 0);
  keep_context(13, first);
  ASSERT_EQ(take_context(14, &other), 0);
  EXPECT_NE(other, first);
  ASSERT_EQ(take_context(13, &again), 0);
  EXPECT_EQ(again, first);
  keep_context(13, again);
  keep_context(14, other);
}

TEST_F(AioQueueOnAFakeKernel, CanBeUsedAgainAndAgain) {
  const auto queue = make_queue(3);
  for (int round = 0; round < 5; ++round) {
    std::vector<IoRequest> requests = make_requests(7);
    queue->submit(requests);
    queue->wait();
    EXPECT_EQ(finished(requests), 7u);
  }
}

TEST(AioQueue, ReadsWhatIsInTheFileWithFewerSlotsThanRequests) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 64 * 512);
  const auto file =
      std::make_shared<const FileDescriptor>(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  AioQueue queue(file, path, 3);
  const Buffer buffer(64 * 512);
  std::vector<IoRequest> requests;
  for (size_t i = 0; i < 64; ++i) {
    requests.push_back({Direction::kRead, Bytes(i * 512), buffer.span().subspan(i * 512, 512), 0});
  }
  queue.submit(requests);
  queue.wait();
  for (const IoRequest& request : requests) EXPECT_EQ(request.result, 512);
  EXPECT_TRUE(std::ranges::equal(buffer.span(), pattern(64 * 512)));
}

// Linux takes a misaligned request and returns EINVAL only in its event.
TEST(AioQueue, HandsOnTheErrorOfOneRequestAsItsResult) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 65536);
  auto file =
      std::make_shared<const FileDescriptor>(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  if (!*file) GTEST_SKIP() << "no direct I/O in " << scratch.path();
  AioQueue queue(file, path, 8);
  const Buffer buffer(8192);
  void* const forbidden = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(forbidden, MAP_FAILED);
  std::vector<IoRequest> requests = {
      {Direction::kRead, Bytes(1), buffer.span().first(4096)},
      {Direction::kRead, Bytes(4096), buffer.span().last(4096)},
      {Direction::kRead, Bytes(0), {static_cast<std::byte*>(forbidden), 4096}},
  };
  queue.submit(requests);
  queue.wait();
  // tmpfs takes O_DIRECT since Linux 6.6, with any alignment.
  EXPECT_EQ(requests[0].result, is_in_memory(path) ? 4096 : -EINVAL);
  EXPECT_EQ(requests[1].result, 4096);
  EXPECT_EQ(requests[2].result, -EFAULT);
  ::munmap(forbidden, 4096);
}

TEST(AioQueue, SaysOfEachRequestThatItsFileIsNotOpenForThat) {
  const ScratchDirectory scratch;
  const std::string path = scratch.make_file("image", 4096);
  AioQueue queue(std::make_shared<const FileDescriptor>(::open(path.c_str(), O_RDONLY)), path, 8);
  const Buffer buffer(1024);
  std::vector<IoRequest> requests = {
      {Direction::kWrite, Bytes(0), buffer.span().first(512)},
      {Direction::kRead, Bytes(512), buffer.span().last(512)},
      {Direction::kWrite, Bytes(1024), buffer.span().first(512)},
  };
  queue.submit(requests);
  queue.wait();
  EXPECT_EQ(requests[0].result, -EBADF);
  EXPECT_EQ(requests[1].result, 512);
  EXPECT_EQ(requests[2].result, -EBADF);
}

}  // namespace
}  // namespace extmerge
