// SPDX-License-Identifier: GPL-3.0-or-later
//
// Whether what a thin has mapped past the origin's end is worth anything. A
// file system formatted and trimmed leaves mapped zeroes there, and an origin
// that ends in the middle of a block always leaves the rest of that block; so
// the question is decided by content, up to the first byte that is not zero.

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
  explicit BeyondOriginScan(BlockDevice& data);

  // Reads the extent's data unless an earlier one had some. Throws kReadFailed, and
  // kStopped if `stop` was requested.
  void look_at(const Extent& extent, std::stop_token stop);
  bool found_data() const { return found_data_; }

 private:
  BlockDevice& data_;
  std::unique_ptr<AsyncQueue> queue_;
  Buffer buffer_;
  bool found_data_ = false;
};

}  // namespace extmerge
