// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/support/simulated_medium.h"

#include <algorithm>
#include <utility>

namespace extmerge {

SimulatedMedium::SimulatedMedium(Contents contents)
    : durable_(std::move(contents)), visible_(durable_) {}

void SimulatedMedium::apply(Contents& image, const Change& change) {
  const uint64_t end = change.offset.value() + change.bytes.size();
  if (image.size() < end) image.resize(end);
  std::copy(change.bytes.begin(), change.bytes.end(),
            image.begin() + static_cast<ptrdiff_t>(change.offset.value()));
}

SimulatedMedium::WriteId SimulatedMedium::begin_write(Bytes offset,
                                                      std::span<const std::byte> bytes) {
  pending_.push_back({next_id_++, false, offset, Contents(bytes.begin(), bytes.end())});
  apply(visible_, pending_.back());
  return pending_.back().id;
}

void SimulatedMedium::complete(WriteId id) {
  const auto found =
      std::lower_bound(pending_.begin(), pending_.end(), id,
                       [](const Change& c, WriteId wanted) { return c.id < wanted; });
  // It may be gone: a failed flush or a restart lost it.
  if (found != pending_.end() && found->id == id) found->complete = true;
}

void SimulatedMedium::write(Bytes offset, std::span<const std::byte> bytes) {
  complete(begin_write(offset, bytes));
}

void SimulatedMedium::write_torn(Bytes offset, std::span<const std::byte> bytes,
                                 SimulatedRandom& random) {
  const Change whole{0, true, offset, Contents(bytes.begin(), bytes.end())};
  for (const Change& part : tear(whole, random)) write(part.offset, part.bytes);
}

void SimulatedMedium::overwrite(Bytes offset, std::span<const std::byte> bytes) {
  const Change change{0, true, offset, Contents(bytes.begin(), bytes.end())};
  apply(visible_, change);
  apply(durable_, change);
}

void SimulatedMedium::grow(Bytes size) {
  const Change change{0, true, size, {}};
  apply(visible_, change);
  apply(durable_, change);
}

void SimulatedMedium::grow_in_doubt(Bytes size) {
  pending_.push_back({next_id_++, true, size, {}});
}

void SimulatedMedium::flush() {
  for (const Change& change : pending_)
    if (change.complete) apply(durable_, change);
  std::erase_if(pending_, [](const Change& change) { return change.complete; });
}

void SimulatedMedium::lose_some(SimulatedRandom& random, bool in_sight) {
  if (pending_.empty()) return;
  const WriteId certainly = pending_[random_below(random, pending_.size())].id;
  std::erase_if(pending_, [&](const Change& change) {
    return change.id == certainly || random_coin(random);
  });
  if (in_sight) return;
  visible_ = durable_;
  for (const Change& change : pending_) apply(visible_, change);
}

std::vector<SimulatedMedium::Change> SimulatedMedium::tear(const Change& change,
                                                           SimulatedRandom& random) {
  std::vector<Change> kept;
  const uint64_t start = change.offset.value();
  const uint64_t end = start + change.bytes.size();
  for (uint64_t at = start; at < end;) {
    const uint64_t next = std::min(end, (at / kSectorSize + 1) * kSectorSize);
    if (random_coin(random))
      kept.push_back({0, true, Bytes(at),
                      Contents(change.bytes.begin() + static_cast<ptrdiff_t>(at - start),
                               change.bytes.begin() + static_cast<ptrdiff_t>(next - start))});
    at = next;
  }
  return kept;
}

void SimulatedMedium::apply_torn(const Change& change, SimulatedRandom& random) {
  for (const Change& part : tear(change, random)) apply(durable_, part);
}

void SimulatedMedium::restart(Survivors survivors, SimulatedRandom& random) {
  size_t end = pending_.size();
  if (survivors == Survivors::kNone) end = 0;
  if (survivors == Survivors::kPrefix) end = random_below(random, pending_.size() + 1);
  for (size_t i = 0; i < end; ++i) {
    if (survivors == Survivors::kRandom && random_coin(random)) continue;
    const bool may_tear =
        survivors == Survivors::kRandom || (survivors == Survivors::kPrefix && i + 1 == end);
    if (may_tear && random_coin(random))
      apply_torn(pending_[i], random);
    else
      apply(durable_, pending_[i]);
  }
  pending_.clear();
  visible_ = durable_;
}

}  // namespace extmerge
