// SPDX-License-Identifier: GPL-3.0-or-later
//
// The narrow waist between the program and the disks. Everything above sees a
// BlockDevice: some bytes at offsets, an asynchronous queue, a flush. There is
// the real one (io/file_device.h), and in tests/support one in memory that can
// lose power, tear sectors and fail any single operation.
//
// Threads: a device may be used from several threads at once, a queue only
// from one at a time.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "io/error.h"
#include "io/units.h"

namespace extmerge {

enum class Direction { kRead, kWrite };

// One transfer. The caller fills in all but `result`; offset, length and memory
// are aligned to the device's logical block size. The memory must stay until
// the queue's wait() has returned.
struct IoRequest {
  Direction direction = Direction::kRead;
  Bytes offset;
  std::span<std::byte> memory;
  // After wait(): the bytes transferred, perhaps fewer than asked, or -errno.
  // Nothing is hidden here; judging a result is transfer()'s job (io/transfer.h).
  int64_t result = 0;
};

class AsyncQueue {
 public:
  virtual ~AsyncQueue() = default;
  // Starts every request; may block when the queue is full. A request that
  // could not be started has its -errno in `result`. The requests must stay
  // where they are until wait().
  virtual void submit(std::span<IoRequest> requests) = 0;
  // Returns when every request submitted since the last wait() is complete,
  // also the failed ones.
  virtual void wait() = 0;
  // Before a request is tried again.
  virtual void pause(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  // As the user named it, for messages.
  virtual const std::string& name() const = 0;
  virtual Bytes size() const = 0;
  // Offsets, lengths and memory of requests are multiples of this: 512 or 4096
  // on devices, 1 on a file that is not read with O_DIRECT.
  virtual Bytes logical_block_size() const = 0;

  // A queue of at most `depth` requests in flight; with 1, submit() may carry each out
  // itself. Throws Error(kAioUnavailable).
  virtual std::unique_ptr<AsyncQueue> make_queue(unsigned depth) = 0;

  // Makes all completed writes durable. Returns 0 or the errno. Must not be
  // called again after it has failed: what the device still holds is unknown.
  virtual int flush() = 0;

  // Makes an image file `size` long, durably. Throws Error(kCannotExtend) on devices.
  virtual void resize(Bytes size) = 0;

  // Drops what the page cache holds of this device, so that buffered readers
  // of it see what was written around the cache. Best effort.
  virtual void drop_cache() = 0;
};

}  // namespace extmerge
