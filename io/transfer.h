// SPDX-License-Identifier: GPL-3.0-or-later
//
// Only this code judges I/O results. The kernel reports a write across the device's end as a short
// success. A signal or a full file system can cut any transfer. So a short transfer is continued,
// from an aligned offset, while it makes progress. Everything else is a failure that names
// direction, device and offset.

#pragma once

#include <optional>
#include <span>

#include "io/block_device.h"

namespace extmerge {

struct IoFailure {
  Direction direction = Direction::kRead;
  Bytes offset;
  int error_number = 0;  // ENODATA: the device ended early on a read, ENOSPC: on a write
};

// Judges the requests of one wait() on `queue`. Retries short ones, EINTR and EAGAIN through the
// same queue (a bounded number of times). Returns nothing if each is complete, otherwise the
// failure with the lowest offset. No request is in flight on return.
std::optional<IoFailure> finish_transfer(BlockDevice& device, AsyncQueue& queue,
                                         std::span<IoRequest> requests);

// submit(), wait() and finish_transfer().
std::optional<IoFailure> transfer(BlockDevice& device, AsyncQueue& queue,
                                  std::span<IoRequest> requests);

// Reads or writes one range and throws io_error() if that fails.
void read_fully(BlockDevice& device, AsyncQueue& queue, Bytes offset, std::span<std::byte> memory);
void write_fully(BlockDevice& device, AsyncQueue& queue, Bytes offset, std::span<std::byte> memory);

// Makes all completed writes durable. Throws kFlushFailed with the cure `next`; then no flush may
// follow.
void flush_fully(BlockDevice& device, const std::string& next);

// kReadFailed or kWriteFailed, naming device and offset.
Error io_error(const BlockDevice& device, const IoFailure& failure);

}  // namespace extmerge
