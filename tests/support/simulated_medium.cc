// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/support/simulated_medium.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace extmerge {

SimulatedMedium::SimulatedMedium(Contents contents)
    : durable_(std::move(contents)), visible_(durable_) {
  changed();
}

void SimulatedMedium::changed() {
  static std::atomic<uint64_t> last{0};
  version_ = ++last;
}

void SimulatedMedium::apply(Contents& image, const Change& change) {
  if (change.resizes) return image.resize(change.offset.value());
  const uint64_t end = change.offset.value() + change.bytes.size();
  if (image.size() < end) image.resize(end);
  std::copy(change.bytes.begin(), change.bytes.end(),
            image.begin() + static_cast<ptrdiff_t>(change.offset.value()));
}

SimulatedMedium::WriteId SimulatedMedium::begin_write(Bytes offset,
                                                      std::span<const std::byte> bytes) {
  changed();
  pending_.push_back({next_id_++, false, offset, Contents(bytes.begin(), bytes.end())});
  apply(visible_, pending_.back());
  return pending_.back().id;
}

void SimulatedMedium::complete(WriteId id) {
  changed();
  const auto found =
      std::lower_bound(pending_.begin(), pending_.end(), id,
                       [](const Change& c, WriteId wanted) { return c.id < wanted; });
  // The write may be gone: a failed flush or a restart has lost it.
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
  changed();
  const Change change{0, true, offset, Contents(bytes.begin(), bytes.end())};
  apply(visible_, change);
  apply(durable_, change);
}

void SimulatedMedium::resize(Bytes size) {
  changed();
  const Change change{0, true, size, {}, true};
  apply(visible_, change);
  apply(durable_, change);
}

void SimulatedMedium::resize_in_doubt(Bytes size) {
  changed();
  pending_.push_back({next_id_++, true, size, {}, true});
}

void SimulatedMedium::flush() {
  changed();
  for (const Change& change : pending_)
    if (change.complete) apply(durable_, change);
  std::erase_if(pending_, [](const Change& change) { return change.complete; });
}

void SimulatedMedium::lose_some(SimulatedRandom& random, bool in_sight) {
  if (pending_.empty()) return;
  changed();
  const WriteId certainly = pending_[random_below(random, pending_.size())].id;
  std::erase_if(pending_, [&](const Change& change) {
    return change.id == certainly || random_coin(random);
  });
  is_deceptive_ = true;
  if (!in_sight) forget_deception();
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

void SimulatedMedium::apply_torn(const Change& change, bool garbage, SimulatedRandom& random) {
  std::vector<Change> parts = tear(change, random);
  for (const Change& part : parts) apply(durable_, part);
  if (!garbage || parts.empty()) return;
  Change& sector = parts[random_below(random, parts.size())];
  // The whole sector, including bytes that the write did not change.
  const uint64_t begin = sector.offset.value() / kSectorSize * kSectorSize;
  const uint64_t end = std::min<uint64_t>(begin + kSectorSize, durable_.size());
  sector.offset = Bytes(begin);
  sector.bytes.resize(end - begin);
  for (std::byte& byte : sector.bytes) byte = static_cast<std::byte>(random());
  apply(durable_, sector);
}

void SimulatedMedium::forget_deception() {
  if (!is_deceptive_) return;
  changed();
  is_deceptive_ = false;
  visible_ = durable_;
  for (const Change& change : pending_) apply(visible_, change);
}

void SimulatedMedium::restart(Survivors survivors, SimulatedRandom& random) {
  if (pending_.empty() && !is_deceptive_) return;
  changed();
  is_deceptive_ = false;
  size_t begin = 0, end = pending_.size();
  if (survivors == Survivors::kNone) end = 0;
  if (survivors == Survivors::kPrefix) end = random_below(random, pending_.size() + 1);
  if (survivors == Survivors::kSuffix) begin = random_below(random, pending_.size() + 1);
  const bool any = survivors == Survivors::kRandom || survivors == Survivors::kGarbage;
  for (size_t i = begin; i < end; ++i) {
    if (any && random_coin(random)) continue;
    const bool may_tear = any || (survivors == Survivors::kPrefix && i + 1 == end) ||
                          (survivors == Survivors::kSuffix && i == begin);
    if (may_tear && random_coin(random))
      apply_torn(pending_[i], survivors == Survivors::kGarbage, random);
    else
      apply(durable_, pending_[i]);
  }
  pending_.clear();
  visible_ = durable_;
}

}  // namespace extmerge
