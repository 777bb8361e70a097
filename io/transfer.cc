// SPDX-License-Identifier: GPL-3.0-or-later
//
// Each round judges every result, and sends the rest of short and interrupted requests through the
// queue again. A request may have only a few rounds without progress, so finish_transfer() always
// ends.

#include "io/transfer.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <vector>

namespace extmerge {

namespace {

// A request fails after this many EAGAIN and EINTR in a row: about a second, with the pauses below.
constexpr unsigned kPatience = 10;

// A request of the caller that is not complete yet.
struct Unfinished {
  IoRequest rest;  // the remaining transfer
  IoRequest* whole = nullptr;
  unsigned fruitless = 0;  // rounds without progress
};

// Reads `rest.result` and moves `rest` past the transferred bytes. Returns 0 to continue (or if
// nothing is left), otherwise the errno of the failure.
int judge(Unfinished& unfinished, size_t logical_block_size) {
  IoRequest& rest = unfinished.rest;
  if (rest.result < 0) {
    const int error_number = static_cast<int>(-rest.result);
    const bool passing = error_number == EINTR || error_number == EAGAIN;
    return passing && ++unfinished.fruitless < kPatience ? 0 : error_number;
  }
  auto transferred = std::min(static_cast<size_t>(rest.result), rest.memory.size());
  if (transferred < rest.memory.size()) {
    // Continue a transfer that stopped inside a block at that block's start, which is aligned.
    // Transferring bytes again is harmless.
    transferred -= transferred % logical_block_size;
    if (transferred == 0) return rest.direction == Direction::kRead ? ENODATA : ENOSPC;
  }
  rest.offset += Bytes(transferred);
  rest.memory = rest.memory.subspan(transferred);
  unfinished.fruitless = 0;
  return 0;
}

// Keeps in `found` the failure with the lowest offset.
void note(std::optional<IoFailure>& found, const IoFailure& failure) {
  if (!found || failure.offset < found->offset) found = failure;
}

void pause_before_retry(AsyncQueue& queue, const std::vector<Unfinished>& unfinished) {
  unsigned fruitless = 0;
  for (const Unfinished& u : unfinished) fruitless = std::max(fruitless, u.fruitless);
  if (fruitless > 0) queue.pause(std::chrono::milliseconds(1u << fruitless));
}

}  // namespace

std::optional<IoFailure> finish_transfer(BlockDevice& device, AsyncQueue& queue,
                                         std::span<IoRequest> requests) {
  std::vector<Unfinished> unfinished;
  for (IoRequest& request : requests) {
    const bool complete = request.result == static_cast<int64_t>(request.memory.size());
    if (!complete) unfinished.push_back({request, &request});
  }
  const auto block = static_cast<size_t>(device.logical_block_size().value());
  std::optional<IoFailure> failure;
  std::vector<IoRequest> round;
  while (!unfinished.empty()) {
    std::erase_if(unfinished, [&](Unfinished& u) {
      const int error_number = judge(u, block);
      if (error_number != 0) {
        note(failure, {u.rest.direction, u.rest.offset, error_number});
        u.whole->result = -error_number;
        return true;
      }
      if (u.rest.memory.empty()) u.whole->result = static_cast<int64_t>(u.whole->memory.size());
      return u.rest.memory.empty();
    });
    if (unfinished.empty()) break;
    pause_before_retry(queue, unfinished);
    round.clear();
    for (const Unfinished& u : unfinished) round.push_back(u.rest);
    queue.submit(round);
    queue.wait();
    for (size_t i = 0; i < round.size(); ++i) unfinished[i].rest.result = round[i].result;
  }
  return failure;
}

std::optional<IoFailure> transfer(BlockDevice& device, AsyncQueue& queue,
                                  std::span<IoRequest> requests) {
  queue.submit(requests);
  queue.wait();
  return finish_transfer(device, queue, requests);
}

namespace {

void transfer_fully(BlockDevice& device, AsyncQueue& queue, IoRequest request) {
  if (const auto failure = transfer(device, queue, {&request, 1})) {
    throw io_error(device, *failure);
  }
}

constexpr const char* kOnceConnected =
    "once the server can be reached again, run the same command again";

std::string reason(int error_number) {
  return error_number == ENOTCONN ? "the connection to the server is lost"
                                  : errno_text(error_number);
}

std::string advice(const IoFailure& failure) {
  switch (failure.error_number) {
    case ENODATA:
      return "it ended early: compare its size (blockdev --getsize64, stat) with what you expect";
    case ENOSPC:
    case EDQUOT:
      return "make room where it is stored, or find out why it ended early, and run the same "
             "command again";
    case EFBIG:
      return "raise the limit on the size of files (ulimit -f), and run the same command again";
    case EPERM:
      // A device-mapper table that was reloaded read-only returns EPERM, not EROFS.
      return "it became read-only while in use (blockdev --getro): find out who reloaded it, "
             "then run the same command again";
    case ENOTCONN:
      return kOnceConnected;
    case EINVAL:
      return "it needs a larger alignment than it reports: look at the kernel log (dmesg)";
    default:
      return "look at the kernel log (dmesg), or the log of an NBD server, for its own message, "
             "and run the same command again once the device works";
  }
}

}  // namespace

void read_fully(BlockDevice& device, AsyncQueue& queue, Bytes offset, std::span<std::byte> memory) {
  transfer_fully(device, queue, {Direction::kRead, offset, memory});
}

void write_fully(BlockDevice& device, AsyncQueue& queue, Bytes offset,
                 std::span<std::byte> memory) {
  transfer_fully(device, queue, {Direction::kWrite, offset, memory});
}

void flush_fully(BlockDevice& device, const std::string& next) {
  if (const int error_number = device.flush(); error_number != 0) {
    throw Error(MessageId::kFlushFailed,
                "cannot flush " + device.name() + ": " + reason(error_number),
                error_number == ENOTCONN ? kOnceConnected : next);
  }
}

Error io_error(const BlockDevice& device, const IoFailure& failure) {
  const bool read = failure.direction == Direction::kRead;
  const auto [holder, offset] = device.holder_of(failure.offset);
  return Error(read ? MessageId::kReadFailed : MessageId::kWriteFailed,
               std::string("cannot ") + (read ? "read " : "write ") + holder->name() + " at byte " +
                   std::to_string(offset.value()) + " (sector " +
                   std::to_string(offset.value() / kSectorSize) +
                   "): " + reason(failure.error_number),
               advice(failure));
}

}  // namespace extmerge
