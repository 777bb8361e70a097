// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/sync_queue.h"

#include <unistd.h>

#include <cerrno>

namespace extmerge {

void carry_out(const FileDescriptor& file, IoRequest& request) {
  const auto offset = static_cast<off_t>(request.offset.value());
  const std::span<std::byte> memory = request.memory;
  const ssize_t result = request.direction == Direction::kRead
                             ? ::pread(file.get(), memory.data(), memory.size(), offset)
                             : ::pwrite(file.get(), memory.data(), memory.size(), offset);
  request.result = result < 0 ? -errno : result;
}

void SyncQueue::submit(std::span<IoRequest> requests) {
  for (IoRequest& request : requests) carry_out(*file_, request);
}

}  // namespace extmerge
