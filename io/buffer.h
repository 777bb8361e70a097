// SPDX-License-Identifier: GPL-3.0-or-later
//
// Memory that O_DIRECT can use: aligned to 4096 bytes or better, in huge pages
// where the kernel gives them (which nearly doubled disk throughput when it was
// measured), and kept out of children, since a fork() while the device writes
// into a private page may hand the child's copy to the device.

#pragma once

#include <cstddef>
#include <span>

namespace extmerge {

class Buffer {
 public:
  Buffer() = default;
  // Zero-filled. From 2 MiB on it is aligned to 2 MiB and advised to be huge.
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
