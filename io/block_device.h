// SPDX-License-Identifier: GPL-3.0-or-later
//
// The narrow waist between the program and the disks. All code above uses a BlockDevice: bytes at
// offsets, an asynchronous queue, a flush. io/file_device.h has the real one. tests/support has one
// in memory that can lose power, tear sectors and fail any single operation.
//
// Threads: several threads may use a device at once, a queue only one at a time.

#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>

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
  // After wait(): the bytes transferred, perhaps fewer than asked, or -errno. transfer() judges the
  // result (io/transfer.h).
  int64_t result = 0;
};

class AsyncQueue {
 public:
  virtual ~AsyncQueue() = default;
  // Starts every request; may block while the queue is full. A request that cannot be started has
  // its -errno in `result`. The requests must stay in place until wait().
  virtual void submit(std::span<IoRequest> requests) = 0;
  // Returns when every request submitted since the last wait() is complete or failed.
  virtual void wait() = 0;
  // Waits before a request is tried again.
  virtual void pause(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  // The name that the user gave, for messages.
  virtual const std::string& name() const = 0;
  virtual Bytes size() const = 0;
  // The device that holds the byte at `offset`, and the byte's offset there, for messages.
  virtual std::pair<const BlockDevice*, Bytes> holder_of(Bytes offset) const {
    return {this, offset};
  }
  // Offsets, lengths and memory of requests are multiples of this: 512 or 4096 on devices, 1 on a
  // buffered file.
  virtual Bytes logical_block_size() const = 0;

  // A queue of at most `depth` requests in flight; with 1, submit() may carry each out
  // itself. Throws Error(kAioUnavailable).
  virtual std::unique_ptr<AsyncQueue> make_queue(unsigned depth) = 0;
  // A queue for some thousand transfers at most, with a few of them in flight. On a device it costs
  // less than the others.
  virtual std::unique_ptr<AsyncQueue> make_short_queue() { return make_queue(kShortDepth); }
  static constexpr unsigned kShortDepth = 16;

  // Makes a range read as zeros, without sending or allocating them where the device can. Returns 0
  // or the errno; EOPNOTSUPP if only a write of zeros does that. The range is aligned like a
  // request, and no request for it is in flight. Arguments: offset, length.
  virtual int write_zeros(Bytes, Bytes) { return EOPNOTSUPP; }

  // Makes all completed writes durable. Returns 0 or the errno. After a failure it must not be
  // called again: the device's contents are unknown.
  virtual int flush() = 0;

  // Makes an image file `size` long, durably. Throws Error(kCannotExtend) on devices.
  virtual void resize(Bytes size) = 0;

  // Drops the page cache of this device, so that buffered readers see direct writes. Best effort.
  virtual void drop_cache() = 0;
};

}  // namespace extmerge
