// SPDX-License-Identifier: GPL-3.0-or-later
//
// All places are known before the first read, so they are sorted and read at once. On a rotating
// disk this takes a second at most.

// The shared library is several times slower than the code inlined.
#define XXH_INLINE_ALL
#include "merge/journal/sample.h"

#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "io/buffer.h"
#include "io/compare.h"
#include "io/endian.h"
#include "io/transfer.h"

namespace extmerge {

namespace {

constexpr uint64_t kSamples = 64;
constexpr uint64_t kSampleLength = 64 << 10;
constexpr uint64_t kFirstBlocks = 16;
// for a picture: 8 MiB of each device in memory
constexpr size_t kPiecesAtOnce = 128;

// A range of a device, which is read into its own slot of a buffer.
struct Place {
  Bytes offset;
  uint64_t length = 0;
};

// Reads all places at once, each to the start of a slot of `slot` bytes.
Buffer read_places(BlockDevice& device, std::span<const Place> places, uint64_t slot) {
  Buffer memory(std::max<uint64_t>(places.size(), 1) * slot);
  std::vector<IoRequest> requests;
  for (const Place& place : places) {
    requests.push_back({Direction::kRead, place.offset,
                        memory.span().subspan(requests.size() * slot, place.length)});
  }
  const std::unique_ptr<AsyncQueue> queue = device.make_short_queue();
  if (const auto failed = transfer(device, *queue, requests)) throw io_error(device, *failed);
  return memory;
}

void sort_and_unique(std::vector<uint64_t>& numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
}

// The first and the last of `count` numbers, and 64 random ones; fewer if `count` is small.
std::vector<uint64_t> draw(uint64_t count) {
  // One number from the processor's own generator: each can take it 40 microseconds.
  std::mt19937_64 chance(std::random_device{}());
  std::uniform_int_distribution<uint64_t> any(0, count - 1);
  std::vector<uint64_t> numbers = {0, count - 1};
  for (uint64_t i = 0; i < kSamples; ++i) numbers.push_back(any(chance));
  sort_and_unique(numbers);
  return numbers;
}

// count * i / parts without overflow: the shares of quotient and remainder are computed separately.
uint64_t share(uint64_t count, uint64_t i, uint64_t parts) {
  return count / parts * i + count % parts * i / parts;
}

// Appends the last of `count` numbers, and 64 evenly spread ones, including the first.
void spread(uint64_t count, std::vector<uint64_t>& numbers) {
  if (count == 0) return;
  for (uint64_t i = 0; i < kSamples; ++i) numbers.push_back(share(count, i, kSamples));
  numbers.push_back(count - 1);
}

uint64_t pieces_of(Bytes length) { return round_up(length.value(), kSampleLength) / kSampleLength; }

// Calls `each` for all extents of a plan, cut at the ends of the pieces in `numbers`. `chosen` says
// that an extent belongs to such a piece.
void for_each_extent(ExtentSource& extents, const std::vector<uint64_t>& numbers,
                     const std::function<void(const Extent&, bool chosen)>& each) {
  auto number = numbers.begin();
  Bytes position;
  for (;;) {
    // Take bytes up to the start of the next chosen piece, or bytes of that piece.
    const bool any = number != numbers.end();
    const Bytes start(any ? *number * kSampleLength : INT64_MAX);
    const bool chosen = position >= start;
    const std::optional<Extent> extent =
        extents.next(chosen ? start + Bytes(kSampleLength) - position : start - position);
    if (!extent) return;
    position += extent->length;
    each(*extent, chosen);
    if (any && position >= start + Bytes(kSampleLength)) ++number;
  }
}

// Places of both devices that are read at once and compared in units of 4 KiB.
class SampleComparison {
 public:
  SampleComparison(BlockDevice& data, BlockDevice& origin)
      : data_(data), origin_(origin), data_block_(data.logical_block_size().value()) {}

  // Adds at most one piece. Bytes past the origin's end are left out.
  void add(const Extent& extent) {
    if (extent.origin_offset >= origin_.size()) return;
    const uint64_t length = std::min(extent.length, origin_.size() - extent.origin_offset).value();
    on_data_.push_back({extent.data_offset, round_up(length, data_block_)});
    on_origin_.push_back({extent.origin_offset, length});
  }
  size_t size() const { return on_origin_.size(); }

  // Calls `each` for each place, and forgets the places. Unreadable places are left out; the first
  // such failure is returned.
  using Found =
      std::function<void(Bytes offset, uint64_t length, const std::vector<ByteRange>& differences)>;
  std::optional<Error> finish(const Found& each) {
    const std::vector<Place> on_data = std::exchange(on_data_, {});
    const std::vector<Place> on_origin = std::exchange(on_origin_, {});
    if (!compare(on_data, on_origin, each)) return std::nullopt;
    // Some place cannot be read: find it by reading one by one.
    std::optional<Error> failure;
    for (size_t i = 0; i < on_origin.size(); ++i) {
      auto failed =
          compare(std::span(on_data).subspan(i, 1), std::span(on_origin).subspan(i, 1), each);
      if (!failure) failure = std::move(failed);
    }
    return failure;
  }

 private:
  // Reads all places before the first call of `each`.
  std::optional<Error> compare(std::span<const Place> on_data, std::span<const Place> on_origin,
                               const Found& each) {
    const uint64_t slot = round_up(kSampleLength, data_block_);
    try {
      const Buffer is = read_places(origin_, on_origin, slot);
      const Buffer should_be = read_places(data_, on_data, slot);
      for (size_t i = 0; i < on_origin.size(); ++i) {
        const auto& [offset, length] = on_origin[i];
        std::vector<ByteRange> differences;
        find_differences(should_be.span().subspan(i * slot, length),
                         is.span().subspan(i * slot, length), offset, kCompareUnit, 0, differences);
        each(offset, length, differences);
      }
    } catch (const Error& error) {
      if (error.id() != MessageId::kReadFailed) throw;
      return error;
    }
    return std::nullopt;
  }

  BlockDevice& data_;
  BlockDevice& origin_;
  const uint64_t data_block_;
  std::vector<Place> on_data_, on_origin_;
};

}  // namespace

std::optional<Bytes> compare_sample(Journal& journal, BlockDevice& data, BlockDevice& origin,
                                    Bytes position, Bytes piece) {
  if (position == Bytes(0)) return std::nullopt;
  const uint64_t origin_block = origin.logical_block_size().value();
  std::vector<Extent> extents;
  for (const uint64_t number : draw(pieces_of(position))) {
    const Bytes start(number * kSampleLength);
    Extent extent = journal.extent_at(start);
    const uint64_t length =
        std::min({extent.length.value(), piece.value(), (position - start).value()});
    // Only a forged position ends inside a block.
    extent.length = Bytes(length - length % origin_block);
    extents.push_back(extent);
  }
  return compare_places(extents, data, origin);
}

std::optional<Bytes> compare_places(std::span<const Extent> extents, BlockDevice& data,
                                    BlockDevice& origin) {
  const uint64_t data_block = data.logical_block_size().value();
  std::vector<Place> on_data;
  std::vector<Place> on_origin;
  for (const Extent& extent : extents) {
    on_data.push_back({extent.data_offset, round_up(extent.length.value(), data_block)});
    on_origin.push_back({extent.origin_offset, extent.length.value()});
  }
  const uint64_t slot = round_up(kSampleLength, data_block);
  const Buffer is = read_places(origin, on_origin, slot);
  const Buffer should_be = read_places(data, on_data, slot);
  for (size_t i = 0; i < on_origin.size(); ++i) {
    const auto now = is.span().subspan(i * slot, on_origin[i].length);
    const auto wanted = should_be.span().subspan(i * slot, on_origin[i].length);
    const auto found = std::ranges::mismatch(now, wanted).in1;
    if (found == now.end()) continue;
    return on_origin[i].offset + Bytes(static_cast<uint64_t>(found - now.begin()));
  }
  return std::nullopt;
}

double sample_difference(ExtentSource& extents, Bytes all, BlockDevice& data, BlockDevice& origin) {
  if (all == Bytes(0)) return 0;
  SampleComparison comparison(data, origin);
  for_each_extent(extents, draw(pieces_of(all)), [&](const Extent& extent, bool chosen) {
    if (chosen) comparison.add(extent);
  });
  uint64_t compared = 0, different = 0;
  const auto failure =
      comparison.finish([&](Bytes, uint64_t length, const std::vector<ByteRange>& differences) {
        for (const ByteRange& range : differences) different += range.end - range.begin;
        compared += length;
      });
  if (failure) throw *failure;
  // Nothing was compared: all pieces lie past the origin's end, where everything is new.
  return compared == 0 ? 1 : static_cast<double>(different) / static_cast<double>(compared);
}

std::optional<Error> draw_plan(ExtentSource& extents, Bytes all, Bytes end, BlockDevice& data,
                               BlockDevice* origin, Bytes origin_end, uint64_t most_pieces,
                               const std::stop_token& stop, OriginMap& map) {
  map.cover(end);
  std::vector<uint64_t> numbers;
  std::optional<SampleComparison> comparison;
  if (origin) {
    const uint64_t pieces = pieces_of(all);
    const uint64_t wanted = std::min(pieces, most_pieces);
    for (uint64_t i = 0; i < wanted; ++i) numbers.push_back(share(pieces, i, wanted));
    comparison.emplace(data, *origin);
  }
  std::optional<Error> failure;
  const auto draw_compared = [&] {
    if (stop.stop_requested()) throw stopped_while_planning();
    auto failed = comparison->finish([&](Bytes offset, uint64_t length,
                                         const std::vector<ByteRange>& found) {
      map.add(OriginMap::kCompared, offset, Bytes(length));
      for (const ByteRange& range : found) {
        map.add(OriginMap::kDifferent, offset + Bytes(range.begin), Bytes(range.end - range.begin));
      }
    });
    if (!failure) failure = std::move(failed);
  };
  // Every cell before `sampled` has a sample of its plan.
  Bytes sampled;
  const auto compare = [&](const Extent& piece) {
    comparison->add(piece);
    const uint64_t cell = map.cell_length().value();
    sampled = Bytes((piece.origin_offset.value() / cell + 1) * cell);
    if (comparison->size() >= kPiecesAtOnce) draw_compared();
  };
  for_each_extent(extents, numbers, [&](const Extent& extent, bool chosen) {
    // An extension also lies past the origin's end.
    const Bytes extent_end = extent.origin_offset + extent.length;
    const Bytes inside =
        std::clamp(origin_end, extent.origin_offset, extent_end) - extent.origin_offset;
    map.add(OriginMap::kPlanned, extent.origin_offset, inside);
    map.add(OriginMap::kBeyond, extent.origin_offset + inside, extent.length - inside);
    if (!comparison) return;
    if (chosen) return compare(extent);
    while (sampled < extent_end) {
      const Bytes start = std::max(sampled, extent.origin_offset);
      compare({start, extent.data_offset + (start - extent.origin_offset),
               std::min(Bytes(kSampleLength), extent_end - start)});
    }
  });
  if (comparison) draw_compared();
  return failure;
}

namespace {

uint64_t fingerprint_unit(const BlockDevice& origin) {
  return std::max<uint64_t>(kCompareUnit, origin.logical_block_size().value());
}

// Appends the numbers of the plan's blocks, and of those of earlier rounds, in units of the origin.
void add_planned(Journal& journal, uint64_t unit, uint64_t blocks, std::vector<uint64_t>& numbers) {
  std::vector<uint64_t> planned;
  spread(round_up(journal.record().copy_bytes.value(), unit) / unit, planned);
  for (const uint64_t number : planned) {
    const uint64_t block = journal.extent_at(Bytes(number * unit)).origin_offset.value() / unit;
    if (block < blocks) numbers.push_back(block);
  }
  for (const Bytes place : journal.record().old_places) {
    if (place.value() / unit < blocks) numbers.push_back(place.value() / unit);
  }
}

}  // namespace

std::vector<Bytes> places_to_keep(Journal& journal, BlockDevice& origin) {
  const uint64_t unit = fingerprint_unit(origin);
  std::vector<uint64_t> numbers;
  add_planned(journal, unit, round_up(origin.size().value(), unit) / unit, numbers);
  sort_and_unique(numbers);
  const uint64_t kept = std::min<uint64_t>(numbers.size(), kMostPlaces);
  std::vector<Bytes> places;
  for (uint64_t i = 0; i < kept; ++i)
    places.emplace_back(numbers[share(numbers.size(), i, kept)] * unit);
  return places;
}

uint64_t origin_fingerprint(Journal& journal, BlockDevice& origin) {
  const uint64_t size = origin.size().value();
  const uint64_t unit = fingerprint_unit(origin);
  const uint64_t blocks = round_up(size, unit) / unit;
  std::vector<uint64_t> numbers;
  for (uint64_t i = 0; i < std::min(kFirstBlocks, blocks); ++i) numbers.push_back(i);
  spread(blocks, numbers);
  add_planned(journal, unit, blocks, numbers);
  sort_and_unique(numbers);

  std::vector<Place> places;
  for (const uint64_t number : numbers) {
    places.push_back({Bytes(number * unit), std::min(unit, size - number * unit)});
  }
  const Buffer memory = read_places(origin, places, unit);
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  for (size_t i = 0; i < places.size(); ++i) {
    const le64 offset(places[i].offset.value());
    XXH3_64bits_update(&hash, &offset, sizeof offset);
    XXH3_64bits_update(&hash, memory.data() + i * unit, places[i].length);
  }
  return XXH3_64bits_digest(&hash);
}

}  // namespace extmerge
