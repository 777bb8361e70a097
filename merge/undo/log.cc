// SPDX-License-Identifier: GPL-3.0-or-later

// The shared library is several times slower than the code inlined.
#define XXH_INLINE_ALL
#include "merge/undo/log.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/compare.h"
#include "io/error.h"
#include "io/hash.h"
#include "merge/journal/format.h"
#include "merge/journal/journal.h"
#include "merge/undo/log_format.h"

namespace extmerge {

namespace {

// The longest range, so that a record holds several.
constexpr size_t kMostOfARange = 1 << 20;
constexpr Bytes kFirstRecord{kUndoHeaderSize};

Error damaged_log(const std::string& path, const std::string& why) {
  return Error(
      MessageId::kDamagedUndoLog, "the undo log " + path + " is damaged: " + why,
      "nothing was put back from it; restore the file from a copy, or keep the merged data");
}

std::vector<std::byte> encode_header(uint64_t nonce, uint64_t owner) {
  DiskUndoHeader disk{};
  std::memcpy(disk.magic, kUndoMagic, sizeof disk.magic);
  disk.version.set(kUndoFormatVersion);
  disk.nonce.set(nonce);
  disk.owner.set(owner);
  std::vector<std::byte> header(kUndoHeaderSize);
  std::memcpy(header.data(), &disk, sizeof disk);
  seal_part(header);
  return header;
}

size_t head_size(uint64_t ranges) {
  return sizeof(DiskUndoRecord) + ranges * sizeof(DiskSavedRange) + kChecksumSize;
}

// The header, perhaps of another version; nothing if it is not intact.
std::optional<DiskUndoHeader> read_header(DurableFile& file) {
  std::vector<std::byte> header(kUndoHeaderSize);
  if (file.read(Bytes(0), header) != header.size() || !part_is_intact(header)) return {};
  const auto disk = load<DiskUndoHeader>(header.data());
  if (std::memcmp(disk.magic, kUndoMagic, sizeof disk.magic) != 0) return {};
  return disk;
}

}  // namespace

WriteDigest digest_of(std::span<const std::byte> bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  WriteDigest digest;
  static_assert(sizeof canonical.digest == sizeof digest);
  std::memcpy(digest.data(), canonical.digest, digest.size());
  return digest;
}

Bytes undo_log_size(Bytes changed, uint64_t pieces) {
  // At worst each range has 4 KiB.
  const uint64_t ranges = round_up(changed.value(), 4096) / 4096;
  const uint64_t records = std::min(ranges, pieces + changed.value() / (kMostSavedBytes / 2));
  return Bytes(kUndoHeaderSize + changed.value() + ranges * sizeof(DiskSavedRange) +
               records * (head_size(0) + kUndoRecordAlignment - 1));
}

std::unique_ptr<DurableFile> open_undo_log(DurableDirectory& directory, const std::string& name,
                                           bool writable) {
  auto file = directory.open(name, writable);
  if (file) return file;
  throw Error(MessageId::kNoUndoLog, "the undo log " + directory.path_of(name) + " is missing",
              "bring it back to where it was: nothing else has the old contents");
}

uint64_t undo_log_owner(const std::string& origin_identity) { return hash_of(origin_identity); }

void UndoLog::check_free(DurableDirectory& directory, const std::string& name, uint64_t owner) {
  const auto file = directory.open(name, false);
  // An empty file may come from mktemp(1), for example.
  if (!file || file->size() == Bytes(0)) return;
  const auto header = read_header(*file);
  if (file->size() == kFirstRecord && header && header->owner.get() == owner) return;
  throw Error(MessageId::kUndoLogInTheWay,
              directory.path_of(name) + " exists and already holds something",
              "name another file with --undo-log, or move that one away");
}

std::unique_ptr<UndoLog> UndoLog::create(DurableDirectory& directory, const std::string& name,
                                         uint64_t nonce, uint64_t owner) {
  check_free(directory, name, owner);
  const std::vector<std::byte> header = encode_header(nonce, owner);
  auto file = create_whole(directory, name, unmarked_name(name, nonce), header);
  std::unique_ptr<UndoLog> log(new UndoLog(std::move(file), directory.path_of(name), nonce));
  log->previous_ = checksum_at_end(header);
  log->end_ = log->durable_ = kFirstRecord;
  return log;
}

std::unique_ptr<UndoLog> UndoLog::open(DurableDirectory& directory, const std::string& name,
                                       uint64_t nonce, Bytes durable, Bytes position,
                                       const std::stop_token& stop) {
  std::unique_ptr<UndoLog> log(
      new UndoLog(open_undo_log(directory, name, true), directory.path_of(name), nonce));
  // An earlier run may have failed to sync: read its records from the disk, not from the page
  // cache. Do not write them again: this might tear synced records that are needed.
  log->file_->sync();
  log->file_->drop_cache();
  UndoLogReader reader(*log->file_, log->path_, nonce, durable);
  UndoRecord record;
  for (auto what = UndoLogReader::What::kRanges;;) {
    if (reader.offset() >= durable) what = UndoLogReader::What::kAll;
    if (!reader.next(record, what)) break;
    if (record.position > position) log->remember(record);
    if (stop.stop_requested()) {
      throw Error(MessageId::kStopped, "stopped while reading " + log->path_,
                  "run the same command again");
    }
  }
  log->sequence_ = reader.records();
  log->previous_ = reader.checksum();
  log->end_ = log->durable_ = reader.offset();
  return log;
}

void UndoLog::remember(const UndoRecord& record) {
  for (const SavedRange& range : record.ranges) {
    uint64_t begin = range.offset.value();
    uint64_t end = begin + range.length.value();
    auto next = saved_.lower_bound(begin);
    if (next != saved_.begin() && std::prev(next)->second == begin) {
      begin = std::prev(next)->first;
      saved_.erase(std::prev(next));
    }
    if (next != saved_.end() && next->first == end) {
      end = next->second;
      saved_.erase(next);
    }
    saved_[begin] = end;
  }
}

// The parts that no earlier run has saved, none longer than kMostOfARange.
std::vector<Overwrite> UndoLog::not_saved(std::span<const Overwrite> overwrites) const {
  std::vector<Overwrite> parts;
  const auto keep = [&](const Overwrite& whole, uint64_t begin, uint64_t end) {
    while (begin < end) {
      const size_t length = std::min<uint64_t>(kMostOfARange, end - begin);
      const size_t at = begin - whole.offset.value();
      parts.push_back(
          {Bytes(begin), whole.old_bytes.subspan(at, length), whole.new_bytes.subspan(at, length)});
      begin += length;
    }
  };
  for (const Overwrite& whole : overwrites) {
    uint64_t at = whole.offset.value();
    const uint64_t end = at + whole.old_bytes.size();
    auto saved = saved_.upper_bound(at);
    if (saved != saved_.begin()) at = std::max(at, std::min(end, std::prev(saved)->second));
    for (; saved != saved_.end() && saved->first < end; ++saved) {
      keep(whole, at, saved->first);
      at = std::min(end, saved->second);
    }
    keep(whole, at, end);
  }
  return parts;
}

void UndoLog::save(Bytes position, std::span<const Overwrite> overwrites) {
  const std::vector<Overwrite> parts = not_saved(overwrites);
  for (size_t begin = 0; begin < parts.size();) {
    size_t end = begin;
    uint64_t bytes = 0;
    while (end < parts.size() && bytes + parts[end].old_bytes.size() <= kMostSavedBytes) {
      bytes += parts[end++].old_bytes.size();
    }
    append(position, std::span(parts).subspan(begin, end - begin));
    begin = end;
  }
  if (!parts.empty()) wait_until_durable();
}

void UndoLog::append(Bytes position, std::span<const Overwrite> overwrites) {
  std::vector<std::byte> record(head_size(overwrites.size()));
  const size_t head = record.size();
  size_t at = sizeof(DiskUndoRecord);
  for (const Overwrite& each : overwrites) {
    const bool is_zero = all_zero(each.old_bytes);
    DiskSavedRange range{};
    range.offset.set(each.offset.value());
    range.length.set(static_cast<uint32_t>(each.old_bytes.size()));
    range.flags.set(is_zero ? kRangeIsZero : 0);
    std::ranges::copy(digest_of(each.new_bytes), range.digest);
    std::memcpy(record.data() + at, &range, sizeof range);
    at += sizeof range;
    if (!is_zero) record.insert(record.end(), each.old_bytes.begin(), each.old_bytes.end());
  }
  DiskUndoRecord disk{};
  std::memcpy(disk.magic, kSavedMagic, sizeof disk.magic);
  disk.nonce.set(nonce_);
  disk.position.set(position.value());
  disk.saved_bytes.set(record.size() - head);
  disk.ranges.set(static_cast<uint32_t>(overwrites.size()));
  disk.saved_checksum.set(checksum_of(std::span(record).subspan(head)));
  record.resize(round_up(record.size(), kUndoRecordAlignment));

  // Write records in the order of their places, so that a sync covers all earlier ones.
  const std::lock_guard guard(lock_);
  if (failure_) std::rethrow_exception(failure_);
  disk.sequence.set(sequence_);
  disk.previous.set(previous_);
  disk.durable.set(durable_.value());
  std::memcpy(record.data(), &disk, sizeof disk);
  seal_part(std::span(record).first(head));
  try {
    file_->write(end_, record);
  } catch (...) {
    failure_ = std::current_exception();
    throw;
  }
  ++sequence_;
  previous_ = checksum_at_end(std::span(record).first(head));
  end_ += Bytes(record.size());
}

void UndoLog::wait_until_durable() {
  std::unique_lock guard(lock_);
  const Bytes wanted = end_;
  while (durable_ < wanted) {
    if (failure_) std::rethrow_exception(failure_);
    if (syncing_) {
      synced_.wait(guard);
      continue;
    }
    syncing_ = true;
    const Bytes written = end_;
    std::exception_ptr failed;
    guard.unlock();
    try {
      file_->sync();
    } catch (...) {
      failed = std::current_exception();
    }
    guard.lock();
    syncing_ = false;
    if (!failed) durable_ = written;
    if (!failure_) failure_ = failed;
    synced_.notify_all();
  }
}

Bytes UndoLog::durable_bytes() const {
  const std::lock_guard guard(lock_);
  return durable_;
}

UndoLogReader::UndoLogReader(DurableFile& file, std::string path, uint64_t nonce, Bytes durable)
    : file_(file),
      path_(std::move(path)),
      nonce_(nonce),
      durable_(durable),
      size_(file_.size()),
      at_(kFirstRecord) {
  const std::optional<DiskUndoHeader> header = read_header(file_);
  if (!header) throw damaged_log(path_, "it has no intact header");
  if (header->version.get() != kUndoFormatVersion) {
    throw Error(MessageId::kJournalVersion,
                "the undo log " + path_ + " has format version " +
                    std::to_string(header->version.get()) + "; this program knows version " +
                    std::to_string(kUndoFormatVersion),
                "use the version of extmerge that made it");
  }
  if (header->nonce.get() != nonce_) {
    throw Error(MessageId::kNoUndoLog, path_ + " is the undo log of another merge",
                "bring the one of this merge back to where it was");
  }
  previous_ = checksum_at_end(encode_header(nonce_, header->owner.get()));
}

// The end of the log. A missing record was not needed yet, unless progress or a later record says
// that it was durable.
bool UndoLogReader::end(const std::string& why) const {
  const std::string where = why + " at byte " + std::to_string(at_.value());
  if (at_ < durable_)
    throw damaged_log(path_,
                      where + " of " + std::to_string(durable_.value()) + " that were durable");
  if (goes_on_later())
    throw damaged_log(path_, where + ", and a later record says that it was durable");
  return false;
}

// Whether a later record says that this place was synced. A power cut may tear a record and leave
// later ones of the same sync. But a record appended after a sync of this place proves damage.
bool UndoLogReader::goes_on_later() const {
  std::vector<std::byte> head;
  for (Bytes at = at_ + Bytes(kUndoRecordAlignment); at < size_;
       at += Bytes(kUndoRecordAlignment)) {
    head.resize(sizeof(DiskUndoRecord));
    if (!read_exactly(at, head)) return false;
    const auto disk = load<DiskUndoRecord>(head.data());
    const bool says_so = std::memcmp(disk.magic, kSavedMagic, sizeof disk.magic) == 0 &&
                         disk.nonce.get() == nonce_ && Bytes(disk.durable.get()) > at_ &&
                         disk.ranges.get() <= kMostSavedRanges;
    if (!says_so) continue;
    head.resize(head_size(disk.ranges.get()));
    if (read_exactly(at, head) && part_is_intact(head)) return true;
  }
  return false;
}

bool UndoLogReader::read_exactly(Bytes offset, std::span<std::byte> memory) const {
  if (offset > size_ || Bytes(memory.size()) > size_ - offset) return false;
  return file_.read(offset, memory) == memory.size();
}

bool UndoLogReader::next(UndoRecord& record, What what) {
  record.ranges.clear();
  record.bytes.clear();
  std::vector<std::byte> head(sizeof(DiskUndoRecord));
  if (!read_exactly(at_, head)) return end("it ends");
  const auto disk = load<DiskUndoRecord>(head.data());
  const uint32_t ranges = disk.ranges.get();
  const bool can_be = std::memcmp(disk.magic, kSavedMagic, sizeof disk.magic) == 0 &&
                      disk.nonce.get() == nonce_ && disk.sequence.get() == sequence_ &&
                      disk.previous.get() == previous_ && ranges > 0 &&
                      ranges <= kMostSavedRanges && disk.saved_bytes.get() <= kMostSavedBytes;
  if (!can_be) return end("there is no record");
  head.resize(head_size(ranges));
  if (!read_exactly(at_, head) || !part_is_intact(head)) return end("a record is damaged");
  uint64_t saved = 0;
  if (!take_ranges(head, record, saved) || saved != disk.saved_bytes.get())
    return end("a record has impossible values");
  const Bytes bytes_at = at_ + Bytes(head.size());
  const Bytes next(round_up((bytes_at + Bytes(saved)).value(), kUndoRecordAlignment));
  if (next > size_) return end("it ends inside a record");
  if (what == What::kAll) {
    record.bytes.resize(saved);
    if (!read_exactly(bytes_at, record.bytes) ||
        checksum_of(record.bytes) != disk.saved_checksum.get())
      return end("the saved data of a record is damaged");
  }
  record.position = Bytes(disk.position.get());
  at_ = next;
  ++sequence_;
  previous_ = checksum_at_end(head);
  return true;
}

bool UndoLogReader::take_ranges(const std::vector<std::byte>& head, UndoRecord& record,
                                uint64_t& saved) const {
  uint64_t all = 0;
  for (size_t at = sizeof(DiskUndoRecord); at + kChecksumSize < head.size();
       at += sizeof(DiskSavedRange)) {
    const auto disk = load<DiskSavedRange>(head.data() + at);
    SavedRange range{
        Bytes(disk.offset.get()), Bytes(disk.length.get()), disk.flags.get() == kRangeIsZero, {}};
    std::ranges::copy(disk.digest, range.digest.begin());
    all += range.length.value();
    if (range.length == Bytes(0) || disk.flags.get() > kRangeIsZero || all > kMostSavedBytes ||
        disk.offset.get() > INT64_MAX - kMostSavedBytes)
      return false;
    if (!range.is_zero) saved += range.length.value();
    record.ranges.push_back(range);
  }
  return true;
}

}  // namespace extmerge
