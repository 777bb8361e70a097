// SPDX-License-Identifier: GPL-3.0-or-later
//
// An AsyncQueue of a few threads, each with one pread(2) or pwrite(2) at a time. Internal to io/.
// It suits short work: a program that has used a kernel AIO context takes 30 to 40 ms longer to end
// (measured), which is as long as some thousands of transfers take.
//
// The threads live from submit() to wait(), which works as well. If the system refuses threads,
// wait() does all the work.

#pragma once

#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "io/block_device.h"
#include "io/file_descriptor.h"

namespace extmerge {

class ThreadQueue final : public AsyncQueue {
 public:
  static constexpr size_t kThreads = 8;  // with the one that waits

  // The queue keeps `file` open.
  explicit ThreadQueue(std::shared_ptr<const FileDescriptor> file) : file_(std::move(file)) {}
  ~ThreadQueue() override { wait(); }

  void submit(std::span<IoRequest> requests) override;
  void wait() override;

 private:
  // Carries out what is left.
  void work();

  const std::shared_ptr<const FileDescriptor> file_;
  std::mutex lock_;
  std::vector<IoRequest*> left_;  // the last one is next
  std::vector<std::jthread> threads_;
};

}  // namespace extmerge
