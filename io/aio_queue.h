// SPDX-License-Identifier: GPL-3.0-or-later
//
// An AsyncQueue over libaio: one kernel context and a fixed set of control
// blocks, so that a request costs no allocation. Internal to io/.
//
// Each user owns a queue. A context costs one ring page or two, but taking it
// down costs 30 to 40 ms (measured), and a merge uses ten. So it is kept for the next
// queue of that depth, and at the program's end the kernel takes all down at once.

#pragma once

#include <libaio.h>

#include <memory>
#include <string>
#include <vector>

#include "io/block_device.h"
#include "io/file_descriptor.h"

namespace extmerge {

// A context that was kept, or else io_setup().
int take_context(int events, io_context_t* context);
// Nothing is in flight in it and `events` is what it was taken for.
void keep_context(int events, io_context_t context);

// The calls into the kernel, so that a test can have them come back early,
// short or with an error. All return -errno and leave errno alone, as libaio does.
struct AioCalls {
  int (*setup)(int events, io_context_t* context) = take_context;
  int (*submit)(io_context_t context, long count, iocb** blocks) = ::io_submit;
  int (*get_events)(io_context_t context, long at_least, long at_most, io_event* events,
                    timespec* timeout) = ::io_getevents;
  void (*keep)(int events, io_context_t context) = keep_context;
  int (*destroy)(io_context_t context) = ::io_destroy;  // where something is in flight
};

class AioQueue final : public AsyncQueue {
 public:
  // The queue keeps `file` open. Gets along with fewer than `depth` requests in
  // flight where the system has no more to give; throws Error(kAioUnavailable)
  // if it has none. `name` is the device's, for that message.
  AioQueue(std::shared_ptr<const FileDescriptor> file, const std::string& name, unsigned depth,
           const AioCalls& calls = {});
  // Waits for what is in flight.
  ~AioQueue() override;
  AioQueue(const AioQueue&) = delete;
  AioQueue& operator=(const AioQueue&) = delete;

  void submit(std::span<IoRequest> requests) override;
  void wait() override;

  unsigned depth() const { return static_cast<unsigned>(blocks_.size()); }

 private:
  size_t start(std::span<IoRequest> requests);
  void reap();

  std::shared_ptr<const FileDescriptor> file_;
  AioCalls calls_;
  io_context_t context_ = nullptr;
  std::vector<iocb> blocks_;
  std::vector<iocb*> free_;       // of blocks_; the others are in flight
  std::vector<io_event> events_;  // as many as blocks_, filled by reap()
};

}  // namespace extmerge
