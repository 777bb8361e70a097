// SPDX-License-Identifier: GPL-3.0-or-later
//
// An AsyncQueue over libaio: one kernel context and a fixed set of control blocks. So a request
// needs no allocation. Internal to io/.
//
// Each user owns a queue. A context needs one or two ring pages, but destroying it takes 30 to 40
// ms (measured), and a merge uses ten. So a context is kept for the next queue of that depth. At
// the program's end the kernel destroys all at once.

#pragma once

#include <libaio.h>

#include <memory>
#include <string>
#include <vector>

#include "io/block_device.h"
#include "io/file_descriptor.h"

namespace extmerge {

// Takes a kept context, or calls io_setup().
int take_context(int events, io_context_t* context);
// Keeps a context without requests in flight; `events` is the number it was taken for.
void keep_context(int events, io_context_t context);

// The calls into the kernel; a test can make them return early, short or with an error. All return
// -errno and leave errno unchanged, as libaio does.
struct AioCalls {
  int (*setup)(int events, io_context_t* context) = take_context;
  int (*submit)(io_context_t context, long count, iocb** blocks) = ::io_submit;
  int (*get_events)(io_context_t context, long at_least, long at_most, io_event* events,
                    timespec* timeout) = ::io_getevents;
  void (*keep)(int events, io_context_t context) = keep_context;
  int (*destroy)(io_context_t context) = ::io_destroy;  // if requests are in flight
};

class AioQueue final : public AsyncQueue {
 public:
  // The queue keeps `file` open. It accepts fewer than `depth` requests in flight if the system is
  // short of them. Throws Error(kAioUnavailable) if the system has none. `name` is the device's,
  // for that message.
  AioQueue(std::shared_ptr<const FileDescriptor> file, const std::string& name, unsigned depth,
           const AioCalls& calls = {});
  // Waits for requests in flight.
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
