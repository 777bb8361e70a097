// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/compare.h"

#include <algorithm>
#include <cstring>

namespace extmerge {

namespace {

constexpr Bytes kWindow{8 << 20};
constexpr Bytes kLongestPause{512 << 20};

// At least a tenth is equal.
bool worth_comparing(Bytes compared, Bytes different) {
  return different.value() <= compared.value() / 10 * 9;
}

}  // namespace

void find_differences(std::span<const std::byte> a, std::span<const std::byte> b, Bytes offset,
                      size_t unit, size_t joined_gap, std::vector<ByteRange>& differences) {
  const size_t before = differences.size();
  // The first unit may be cut off by the start of the memory, the last by its end.
  size_t begin = 0;
  size_t end = unit - static_cast<size_t>(offset.value() % unit);
  for (; begin < a.size(); begin = end, end += unit) {
    end = std::min(end, a.size());
    if (std::memcmp(a.data() + begin, b.data() + begin, end - begin) == 0) continue;
    const bool joins = differences.size() > before && begin - differences.back().end <= joined_gap;
    if (joins) {
      differences.back().end = end;
    } else {
      differences.push_back({begin, end});
    }
  }
}

bool CompareGovernor::should_compare(Bytes piece) {
  const std::lock_guard guard(lock_);
  switch (state_) {
    case State::kComparing:
      return true;
    case State::kPausing:
      if (pause_left_ > Bytes(0)) {
        pause_left_ -= std::min(piece, pause_left_);
        return false;
      }
      state_ = State::kProbing;
      return true;
    case State::kProbing:
      break;
  }
  return false;
}

void CompareGovernor::compared(Bytes piece, Bytes different) {
  const std::lock_guard guard(lock_);
  // In a pause: taken before the verdict that began it.
  if (state_ == State::kPausing) return;
  if (state_ == State::kProbing) {
    if (!worth_comparing(piece, different)) return pause();
    state_ = State::kComparing;
    next_pause_ = kFirstPause;
    window_ = window_different_ = Bytes(0);
    return;
  }
  window_ += piece;
  window_different_ += different;
  if (window_ < kWindow) return;
  if (!worth_comparing(window_, window_different_)) return pause();
  next_pause_ = kFirstPause;
  window_ = window_different_ = Bytes(0);
}

void CompareGovernor::pause() {
  state_ = State::kPausing;
  pause_left_ = next_pause_;
  next_pause_ = std::min(next_pause_ + next_pause_, kLongestPause);
  window_ = window_different_ = Bytes(0);
}

}  // namespace extmerge
