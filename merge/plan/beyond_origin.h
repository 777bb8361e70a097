// SPDX-License-Identifier: GPL-3.0-or-later
//
// Finds out whether the data that a thin maps past the origin's end is worth keeping. A formatted
// and trimmed file system leaves mapped zeroes there. An origin that ends inside a block always
// leaves the rest of that block. So the content decides: the scan ends at the first byte that is
// not zero.

#pragma once

#include <memory>
#include <stop_token>

#include "io/block_device.h"
#include "io/buffer.h"
#include "merge/plan/run.h"

namespace extmerge {

class BeyondOriginScan {
 public:
  // `data` is the pool's data device and must outlive the scan.
  explicit BeyondOriginScan(BlockDevice& data) : data_(data) {}

  // Reads the extent's data, unless an earlier extent had bytes that are not zero. Throws
  // kReadFailed, and kStopped if `stop` was requested.
  void look_at(const Extent& extent, std::stop_token stop);
  bool found_data() const { return found_data_; }

 private:
  BlockDevice& data_;
  std::unique_ptr<AsyncQueue> queue_;
  Buffer buffer_;
  bool found_data_ = false;
};

}  // namespace extmerge
