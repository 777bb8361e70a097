// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/aio_queue.h"

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "io/error.h"

namespace extmerge {

namespace {

struct KeptContext {
  int events = 0;
  io_context_t context = nullptr;
};
std::mutex kept_lock;
std::vector<KeptContext> kept;

// Sets up `context` for `depth` requests, or a half, a quarter, ... of them, and returns the
// number. EAGAIN means that all programs together reach the system's limit, fs.aio-max-nr (65,536
// by default).
unsigned set_up(const AioCalls& calls, io_context_t* context, unsigned depth,
                const std::string& name) {
  int error_number = EAGAIN;
  for (; depth > 0 && error_number == EAGAIN; depth /= 2) {
    *context = nullptr;
    error_number = -calls.setup(static_cast<int>(depth), context);
    if (error_number == 0) return depth;
  }
  throw Error(MessageId::kAioUnavailable,
              "cannot set up asynchronous I/O for " + name + ": " + errno_text(error_number),
              error_number == EAGAIN
                  ? "other programs use up the system's limit: compare /proc/sys/fs/aio-nr with "
                    "aio-max-nr and raise it (sysctl fs.aio-max-nr=1048576)"
                  : "the kernel, or the container this runs in, does not offer io_setup(2): run it "
                    "on the host");
}

void prepare(iocb* block, int fd, IoRequest& request) {
  const bool read = request.direction == Direction::kRead;
  (read ? io_prep_pread : io_prep_pwrite)(block, fd, request.memory.data(), request.memory.size(),
                                          static_cast<long long>(request.offset.value()));
  block->data = &request;
}

}  // namespace

int take_context(int events, io_context_t* context) {
  {
    const std::lock_guard guard(kept_lock);
    const auto found = std::find_if(kept.begin(), kept.end(),
                                    [&](const KeptContext& k) { return k.events == events; });
    if (found != kept.end()) {
      *context = found->context;
      kept.erase(found);
      return 0;
    }
  }
  return ::io_setup(events, context);
}

void keep_context(int events, io_context_t context) {
  const std::lock_guard guard(kept_lock);
  kept.push_back({events, context});
}

AioQueue::AioQueue(std::shared_ptr<const FileDescriptor> file, const std::string& name,
                   unsigned depth, const AioCalls& calls)
    : file_(std::move(file)), calls_(calls) {
  constexpr unsigned kMostEvents = 1u << 20;  // io_setup() takes an int; no system has so many
  depth = set_up(calls_, &context_, std::clamp(depth, 1u, kMostEvents), name);
  blocks_.resize(depth);
  events_.resize(depth);
  for (iocb& block : blocks_) free_.push_back(&block);
}

AioQueue::~AioQueue() {
  try {
    wait();
    calls_.keep(static_cast<int>(depth()), context_);
  } catch (...) {
    calls_.destroy(context_);  // waits for requests in flight, too (Linux 3.18 and later)
  }
}

void AioQueue::submit(std::span<IoRequest> requests) {
  while (!requests.empty()) {
    if (free_.empty()) reap();
    requests = requests.subspan(start(requests));
  }
}

// Hands as many requests to the kernel as there are free control blocks.
// Returns how many of them, from the front, are settled one way or the other.
//
// A bad request is usually no error here: the kernel takes a misaligned one and returns -EINVAL in
// its event. io_submit() fails only if the first request is bad. If a later one is bad, io_submit()
// takes the requests before it and returns their number.
size_t AioQueue::start(std::span<IoRequest> requests) {
  const size_t count = std::min(requests.size(), free_.size());
  iocb** const first = free_.data() + (free_.size() - count);
  for (size_t i = 0; i < count; ++i) prepare(first[i], file_->get(), requests[i]);

  const int taken = calls_.submit(context_, static_cast<long>(count), first);
  if (taken > 0) {
    free_.erase(free_.end() - static_cast<ptrdiff_t>(count),
                free_.end() - static_cast<ptrdiff_t>(count) + taken);
    return static_cast<size_t>(taken);
  }
  if (taken == -EINTR) return 0;
  if (taken == -EAGAIN && free_.size() < blocks_.size()) {
    reap();  // a finished request may free what the kernel lacks
    return 0;
  }
  requests.front().result = taken == 0 ? -EAGAIN : taken;
  return 1;
}

// Waits for at least one request in flight and collects all finished ones.
void AioQueue::reap() {
  int count = -EINTR;
  while (count == -EINTR || count == 0) {
    count =
        calls_.get_events(context_, 1, static_cast<long>(events_.size()), events_.data(), nullptr);
  }
  if (count < 0) {
    throw Error(MessageId::kInternal, "cannot collect asynchronous I/O: " + errno_text(-count),
                "report this with the kernel's version (uname -a)");
  }
  for (int i = 0; i < count; ++i) {
    const io_event& event = events_[static_cast<size_t>(i)];
    // The kernel's field is signed and holds -errno; libaio declares it unsigned.
    static_cast<IoRequest*>(event.data)->result = static_cast<int64_t>(event.res);
    free_.push_back(event.obj);
  }
}

void AioQueue::wait() {
  while (free_.size() < blocks_.size()) reap();
}

}  // namespace extmerge
