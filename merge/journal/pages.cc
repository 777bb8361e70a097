// SPDX-License-Identifier: GPL-3.0-or-later
//
// A run is three varints. The first two are its distance from the end of the run before, on the
// thin and on the data device; the second is zigzag, since data blocks jump both ways. The third is
// its number of blocks and the place of its contents. The first run of a page follows an imaginary
// one that ends at block 0 of both.

#include "merge/journal/pages.h"

#include <algorithm>

#include "merge/journal/header.h"
#include "merge/plan/digest.h"

namespace extmerge {

namespace {

constexpr size_t kPieceSize = 1 << 20;
constexpr size_t kPagesInPiece = kPieceSize / kPlanPageSize;
constexpr size_t kPageCapacity = kPlanPageSize - kChecksumSize;  // header and runs
constexpr size_t kLongestVarint = 10;
constexpr uint64_t kEndOfDataBlocks = uint64_t{1} << 40;

size_t put_varint(std::byte* to, uint64_t value) {
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) to[size++] = static_cast<std::byte>(value | 0x80);
  to[size++] = static_cast<std::byte>(value);
  return size;
}

// False if the varint runs into the end or does not fit into 64 bits.
bool take_varint(std::span<const std::byte> from, size_t& at, uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && at < from.size(); shift += 7) {
    const uint64_t byte = std::to_integer<uint64_t>(from[at++]);
    const uint64_t bits = byte & 0x7f;
    if ((bits << shift) >> shift != bits) return false;
    value |= bits << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

uint64_t to_zigzag(uint64_t difference) {
  return (difference << 1) ^ (difference >> 63 ? ~uint64_t{0} : 0);
}
uint64_t from_zigzag(uint64_t value) { return (value >> 1) ^ (value & 1 ? ~uint64_t{0} : 0); }

size_t put_run(std::byte* to, const Run& previous, const Run& run) {
  size_t size = put_varint(to, run.thin - (previous.thin + previous.blocks));
  size += put_varint(to + size, to_zigzag(run.data - (previous.data + previous.blocks)));
  const auto content = static_cast<uint64_t>(run.content);
  return size + put_varint(to + size, run.blocks << kRunContentBits | content);
}

bool take_run(std::span<const std::byte> from, uint32_t version, size_t& at, const Run& previous,
              Run& run) {
  uint64_t gap = 0;
  uint64_t jump = 0;
  uint64_t tagged = 0;
  if (!take_varint(from, at, gap) || !take_varint(from, at, jump) || !take_varint(from, at, tagged))
    return false;
  const unsigned bits = version == 1 ? 0 : kRunContentBits;
  const uint64_t content = tagged & ((1u << bits) - 1);
  if (content != 0 && version < kCopyFormatVersion) return false;
  run.content = static_cast<RunContent>(content);
  run.blocks = tagged >> bits;
  run.thin = previous.thin + previous.blocks + gap;
  run.data = previous.data + previous.blocks + from_zigzag(jump);
  return true;
}

// Whether `run` is valid in a plan if it must not begin before `least`.
bool is_planned(const Run& run, ThinBlock least, const PlanLimits& limits) {
  const uint64_t thin_blocks = limits.block_size.blocks_holding(limits.end);
  return run.blocks > 0 && run.thin >= least && run.thin.value() < thin_blocks &&
         run.blocks <= thin_blocks - run.thin.value() && run.data.value() < kEndOfDataBlocks &&
         run.blocks <= kEndOfDataBlocks - run.data.value();
}

bool is_intact_page(std::span<const std::byte> bytes, uint64_t nonce, uint64_t index) {
  const auto disk = load<DiskPlanPage>(bytes.data());
  return part_is_intact(bytes) && disk.nonce.get() == nonce && disk.index.get() == index &&
         disk.run_count.get() > 0;
}

}  // namespace

PlanPageWriter::PlanPageWriter(DurableFile& file, uint64_t nonce, const PlanLimits& limits)
    : file_(file), nonce_(nonce), limits_(limits), piece_(kPieceSize) {}

void PlanPageWriter::add(const Run& run) {
  if (!is_planned(run, least_, limits_))
    throw misuse("the plan has a run at thin block " + std::to_string(run.thin.value()) +
                 " out of order or out of bounds");
  if (!append(run)) {
    end_page();
    append(run);
  }
  previous_ = run;
  least_ = run.thin + run.blocks;
  ++runs_;
  position_ += to_extent(run, limits_).length;
}

bool PlanPageWriter::append(const Run& run) {
  if (runs_in_page_ == 0) {
    used_ = sizeof(DiskPlanPage);
    previous_ = Run();
    page_position_ = position_;
  }
  std::byte bytes[3 * kLongestVarint];
  const size_t size = put_run(bytes, previous_, run);
  if (size > kPageCapacity - used_) return false;
  std::memcpy(piece_.data() + page_at_ + used_, bytes, size);
  used_ += size;
  ++runs_in_page_;
  return true;
}

void PlanPageWriter::end_page() {
  DiskPlanPage disk{};
  disk.nonce.set(nonce_);
  disk.index.set(pages_++);
  disk.position.set(page_position_.value());
  disk.run_count.set(runs_in_page_);
  const auto page = std::span(piece_).subspan(page_at_, kPlanPageSize);
  std::memcpy(page.data(), &disk, sizeof disk);
  seal_part(page);
  runs_in_page_ = 0;
  page_at_ += kPlanPageSize;
  if (page_at_ == piece_.size()) write_piece();
}

void PlanPageWriter::write_piece() {
  file_.write(Bytes(kPlanOffset + pages_ * kPlanPageSize - page_at_),
              std::span(piece_).first(page_at_));
  page_at_ = 0;
  std::ranges::fill(piece_, std::byte{0});
}

void PlanPageWriter::finish() {
  if (runs_in_page_ > 0) end_page();
  if (page_at_ > 0) write_piece();
}

bool decode_plan_page(std::span<const std::byte> bytes, uint32_t version, uint64_t nonce,
                      uint64_t index, const PlanLimits& limits, PlanPage& page) {
  if (!is_intact_page(bytes, nonce, index)) return false;
  const auto disk = load<DiskPlanPage>(bytes.data());
  page.position = page.end = Bytes(disk.position.get());
  page.runs.clear();
  const auto encoded = bytes.first(kPageCapacity);
  size_t at = sizeof disk;
  Run run;
  for (uint32_t i = 0; i < disk.run_count.get(); ++i) {
    const Run previous = run;
    if (!take_run(encoded, version, at, previous, run) ||
        !is_planned(run, previous.thin + previous.blocks, limits))
      return false;
    page.runs.push_back(run);
    page.end += to_extent(run, limits).length;
  }
  return true;
}

// Doubles its read-ahead each time: a single extent needs one page, a whole plan few reads.
class PlanPages::Source : public RunSource {
 public:
  // Starts at page `index`, which must begin at `position`.
  Source(const PlanPages& pages, uint64_t index, Bytes position)
      : pages_(pages), index_(index), position_(position) {}

  bool next(Run& run) override {
    if (at_ == page_.runs.size() && !next_page()) return false;
    run = page_.runs[at_++];
    return true;
  }
  void put_back() { --at_; }  // returns the last run to the source

 private:
  bool next_page() {
    if (index_ == pages_.pages_) {
      if (position_ != pages_.copy_bytes_)
        throw damaged_journal(pages_.path_, "its plan has another length than its header says");
      return false;
    }
    if (piece_at_ == piece_.size()) read_piece();
    pages_.decode(std::span(piece_).subspan(piece_at_, kPlanPageSize), index_, page_);
    if (page_.position != position_ || page_.runs.front().thin < least_)
      throw damaged_journal(
          pages_.path_, "page " + std::to_string(index_) + " of its plan does not follow the last");
    piece_at_ += kPlanPageSize;
    ++index_;
    at_ = 0;
    position_ = page_.end;
    least_ = page_.runs.back().thin + page_.runs.back().blocks;
    return true;
  }

  void read_piece() {
    const uint64_t count = std::min<uint64_t>(read_ahead_, pages_.pages_ - index_);
    read_ahead_ = std::min(2 * read_ahead_, kPagesInPiece);
    piece_.resize(count * kPlanPageSize);
    pages_.read(index_, piece_);
    piece_at_ = 0;
  }

  const PlanPages& pages_;
  uint64_t index_;   // of the next page
  Bytes position_;   // where it must begin
  ThinBlock least_;  // the least start of its first run
  size_t read_ahead_ = 1;
  std::vector<std::byte> piece_;
  size_t piece_at_ = 0;
  PlanPage page_;
  size_t at_ = 0;
};

void PlanPages::read(uint64_t index, std::span<std::byte> bytes) const {
  if (file_.read(Bytes(plan_offset(version_) + index * kPlanPageSize), bytes) != bytes.size())
    throw damaged_journal(path_, "its plan is cut off");
}

Error PlanPages::damaged_page(uint64_t index) const {
  return damaged_journal(path_, "page " + std::to_string(index) + " of its plan is not intact");
}

void PlanPages::decode(std::span<const std::byte> bytes, uint64_t index, PlanPage& page) const {
  if (!decode_plan_page(bytes, version_, nonce_, index, limits_, page)) throw damaged_page(index);
}

// A fingerprint looks for some 66 positions, so the runs of the pages on the way are not decoded.
uint64_t PlanPages::find_page(Bytes position, Bytes& begin) const {
  std::vector<std::byte> bytes(kPlanPageSize);
  uint64_t first = 0;
  uint64_t end = pages_;
  begin = Bytes(0);
  while (end - first > 1) {
    const uint64_t middle = first + (end - first) / 2;
    read(middle, bytes);
    if (!is_intact_page(bytes, nonce_, middle)) throw damaged_page(middle);
    const Bytes middle_begin(load<DiskPlanPage>(bytes.data()).position.get());
    if (middle_begin <= position) {
      first = middle;
      begin = middle_begin;
    } else {
      end = middle;
    }
  }
  return first;
}

std::unique_ptr<RunSource> PlanPages::all_runs() const {
  return std::make_unique<Source>(*this, 0, Bytes(0));
}

std::unique_ptr<RunSource> PlanPages::runs_from(Bytes position, Bytes& skip) const {
  if (position > copy_bytes_)
    throw misuse("position " + std::to_string(position.value()) + " lies past the end of the plan");
  skip = Bytes(0);
  if (position == copy_bytes_) return std::make_unique<Source>(*this, pages_, copy_bytes_);
  Bytes begin;
  const uint64_t index = find_page(position, begin);
  auto source = std::make_unique<Source>(*this, index, begin);
  Run run;
  while (source->next(run)) {
    const Bytes length = to_extent(run, limits_).length;
    if (position - begin < length) {
      skip = position - begin;
      source->put_back();
      return source;
    }
    begin += length;
  }
  throw damaged_journal(path_, "its plan ends before position " + std::to_string(position.value()));
}

void PlanPages::check_all(uint64_t runs, const PlanDigest& digest,
                          const std::stop_token& stop) const {
  Source source(*this, 0, Bytes(0));
  RunDigest found;
  uint64_t count = 0;
  for (Run run; source.next(run); ++count) {
    if (stop.stop_requested()) throw stopped_while_planning();
    found.add(run);
  }
  if (count != runs || found.finish(limits_) != digest)
    throw damaged_journal(path_, "its plan is not the one its header describes");
}

}  // namespace extmerge
