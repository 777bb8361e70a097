// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/thread_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include "io/buffer.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

constexpr size_t kUnit = 4096;

class ThreadQueueTest : public testing::Test {
 protected:
  ThreadQueueTest() { make(O_RDWR | O_CREAT); }

  void make(int flags) {
    const std::string path = scratch / "file";
    file = std::make_shared<const FileDescriptor>(::open(path.c_str(), flags | O_CLOEXEC, 0600));
    ASSERT_GE(file->get(), 0);
  }
  std::vector<IoRequest> requests(Direction direction, size_t count) {
    std::vector<IoRequest> all;
    for (size_t i = 0; i < count; ++i) {
      all.push_back(
          {direction, Bytes(i * kUnit), memory.span().subspan(i * kUnit, kUnit), INT64_MIN});
    }
    return all;
  }

  ScratchDirectory scratch;
  std::shared_ptr<const FileDescriptor> file;
  Buffer memory{1000 * kUnit};
};

TEST_F(ThreadQueueTest, CarriesOutMoreRequestsThanItHasThreads) {
  ThreadQueue queue(file);
  for (size_t i = 0; i < memory.size(); ++i) memory.span()[i] = static_cast<std::byte>(i / kUnit);
  auto writes = requests(Direction::kWrite, 1000);
  queue.submit(writes);
  queue.wait();
  for (const IoRequest& one : writes) EXPECT_EQ(one.result, static_cast<int64_t>(kUnit));
  std::ranges::fill(memory.span(), std::byte{});
  // Two submissions before one wait.
  auto reads = requests(Direction::kRead, 1000);
  queue.submit(std::span(reads).first(7));
  queue.submit(std::span(reads).subspan(7));
  queue.wait();
  for (size_t i = 0; i < reads.size(); ++i) {
    EXPECT_EQ(reads[i].result, static_cast<int64_t>(kUnit));
    EXPECT_EQ(memory.span()[i * kUnit + 5], static_cast<std::byte>(i)) << i;
  }
}

TEST_F(ThreadQueueTest, TellsShortTransfersAndErrors) {
  ASSERT_EQ(::ftruncate(file->get(), 100), 0);
  ThreadQueue queue(file);
  auto reads = requests(Direction::kRead, 2);
  queue.submit(reads);
  queue.wait();
  EXPECT_EQ(reads[0].result, 100);
  EXPECT_EQ(reads[1].result, 0);
  make(O_RDONLY);
  ThreadQueue read_only(file);
  auto writes = requests(Direction::kWrite, 3);
  read_only.submit(writes);
  read_only.wait();
  for (const IoRequest& one : writes) EXPECT_EQ(one.result, -EBADF);
}

TEST_F(ThreadQueueTest, EndsWithRequestsInFlightAndWithoutAny) {
  auto writes = requests(Direction::kWrite, 200);
  {
    ThreadQueue queue(file);
    queue.submit(writes);
  }
  for (const IoRequest& one : writes) EXPECT_EQ(one.result, static_cast<int64_t>(kUnit));
  // One request needs no thread.
  auto one = requests(Direction::kWrite, 1);
  ThreadQueue queue(file);
  queue.submit(one);
  queue.wait();
  EXPECT_EQ(one[0].result, static_cast<int64_t>(kUnit));
  ThreadQueue idle(file);
  idle.wait();
  idle.submit({});
  idle.wait();
}

}  // namespace
}  // namespace extmerge
