// SPDX-License-Identifier: GPL-3.0-or-later
//
// An AsyncQueue of depth one: each request is carried out by pread(2) or pwrite(2)
// as it is submitted. Internal to io/. For whoever has one thing in flight at a time, or a
// few threads that each have, and for files with which io_submit() does the same: a
// program that has used a kernel AIO context takes 30 to 40 ms longer to end (measured), a
// fifth of what the walk over ten million mappings takes.

#pragma once

#include <memory>

#include "io/block_device.h"
#include "io/file_descriptor.h"

namespace extmerge {

class SyncQueue final : public AsyncQueue {
 public:
  // The queue keeps `file` open.
  explicit SyncQueue(std::shared_ptr<const FileDescriptor> file) : file_(std::move(file)) {}

  void submit(std::span<IoRequest> requests) override;
  void wait() override {}

 private:
  std::shared_ptr<const FileDescriptor> file_;
};

}  // namespace extmerge
