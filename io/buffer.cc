// SPDX-License-Identifier: GPL-3.0-or-later
//
// A buffer is an anonymous mapping, which is zero-filled and page-aligned. mmap() promises no
// larger alignment. So a buffer for huge pages reserves 2 MiB more and starts at the first multiple
// of 2 MiB inside. The rest at both ends is never touched and uses address space only.

#include "io/buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <utility>

#include "io/error.h"

namespace extmerge {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

Buffer::Buffer(size_t size) : size_(size) {
  if (size == 0) return;
  const bool huge = size >= kHugePage;
  const size_t slack = huge ? kHugePage : 0;
  const bool countable = size <= std::numeric_limits<size_t>::max() - slack;
  mapping_size_ = countable ? size + slack : size;
  mapping_ = countable ? ::mmap(nullptr, mapping_size_, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                       : MAP_FAILED;
  if (mapping_ == MAP_FAILED) {
    throw system_error("get", std::to_string(size) + " bytes of buffer memory",
                       countable ? errno : ENOMEM, MessageId::kNoMemory);
  }
  const auto begin = reinterpret_cast<uintptr_t>(mapping_);
  const uintptr_t skipped = huge ? (kHugePage - begin % kHugePage) % kHugePage : 0;
  data_ = static_cast<std::byte*>(mapping_) + skipped;

  // Ignore failures: a kernel without transparent huge pages returns EINVAL, and the buffer still
  // works.
  if (huge) ::madvise(data_, size, MADV_HUGEPAGE);
  // Linux pins the pages of direct I/O. But after a fork() the parent's next write to a page in
  // flight gives the *parent* a copy. Then the data lands in the child's page (open(2), NOTES).
  // MADV_DONTFORK prevents that.
  ::madvise(mapping_, mapping_size_, MADV_DONTFORK);
}

Buffer::~Buffer() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapping_size_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_size_(std::exchange(other.mapping_size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_size_, other.mapping_size_);
  return *this;
}

}  // namespace extmerge
