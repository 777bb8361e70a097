// SPDX-License-Identifier: GPL-3.0-or-later
//
// Memory for O_DIRECT, aligned to 4096 bytes or better. It uses huge pages if the kernel has them,
// which nearly doubles disk throughput (measured). Child processes do not get it: after a fork()
// during a read, the device may write into the child's copy of a page.

#pragma once

#include <cstddef>
#include <span>

namespace extmerge {

class Buffer {
 public:
  Buffer() = default;
  // The memory is zero-filled. From 2 MiB on it is aligned to 2 MiB and advised to use huge pages.
  // Throws Error(kNoMemory).
  explicit Buffer(size_t size);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<std::byte> span() const { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  void* mapping_ = nullptr;
  size_t mapping_size_ = 0;
};

}  // namespace extmerge
