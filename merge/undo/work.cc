// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/undo/work.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/compare.h"
#include "io/transfer.h"
#include "merge/undo/log_format.h"

namespace extmerge {

namespace {

using Clock = std::chrono::steady_clock;
using What = UndoLogReader::What;

constexpr unsigned kDepth = 64;
constexpr uint64_t kPlaceUnit = 4096;
constexpr Bytes kCheckpointBytes{256 << 20};  // of the log
constexpr std::chrono::seconds kCheckpointTime{5};

Bytes length_of(const UndoRecord& record) {
  Bytes length;
  for (const SavedRange& range : record.ranges) length += range.length;
  return length;
}

UndoLogReader read_log(DurableFile& log, const std::string& path, const Journal& journal) {
  return {log, path, journal.nonce(), journal.progress().undo_log_bytes};
}

Error stopped(const std::string& happened) {
  return Error(MessageId::kStopped, "stopped as requested, " + happened,
               "run the same command again");
}

}  // namespace

UndoSize size_of_undo(DurableFile& log, const std::string& path, const Journal& journal,
                      const std::stop_token& stop) {
  UndoSize size;
  UndoLogReader reader = read_log(log, path, journal);
  for (UndoRecord record; reader.next(record, What::kRanges);) {
    for (const SavedRange& range : record.ranges) {
      if (range.offset + range.length > journal.record().plan_end) {
        throw Error(MessageId::kDamagedUndoLog,
                    "the undo log " + path + " holds data from past the plan's end",
                    "nothing was put back from it; restore the file from a copy");
      }
      size.has_start |= range.offset == Bytes(0);
      size.end = std::max(size.end, range.offset + range.length);
    }
    size.ranges += record.ranges.size();
    size.saved_bytes += length_of(record);
    if (stop.stop_requested()) throw stopped("nothing was put back");
  }
  return size;
}

UndoWork::UndoWork(DurableFile& log, std::string path, Journal& journal, BlockDevice& origin,
                   std::function<void()> check_origin, Progress& progress, std::stop_token stop)
    : log_(log),
      path_(std::move(path)),
      journal_(journal),
      origin_(origin),
      check_origin_(std::move(check_origin)),
      progress_(progress),
      stop_(std::move(stop)),
      watched_(Clock::now()),
      queue_(origin.make_queue(kDepth)) {}

void UndoWork::begin_phase(Phase phase) {
  progress_.done_bytes = 0;
  progress_.durable_bytes = 0;
  progress_.phase = phase;
}

void UndoWork::end_record(const UndoRecord& record) {
  progress_.done_bytes += length_of(record).value();
  const Clock::time_point now = Clock::now();
  if (!check_origin_ || now - watched_ < std::chrono::seconds(1)) return;
  watched_ = now;
  check_origin_();
}

void UndoWork::lay_out(const UndoRecord& record, Bytes end) {
  const auto in_memory = [](Bytes length) { return round_up(length.value(), kPlaceUnit); };
  uint64_t needed = 0;
  for (const SavedRange& range : record.ranges) needed += in_memory(range.length);
  if (needed > memory_.size()) memory_ = Buffer(std::max(needed, kMostSavedBytes));

  places_.clear();
  uint64_t used = 0, saved = 0;
  for (const SavedRange& range : record.ranges) {
    const Bytes stop = std::min(range.offset + range.length, end);
    if (range.offset < stop) {
      const uint64_t length = (stop - range.offset).value();
      Place place{&range, memory_.span().subspan(used, length), {}};
      if (!range.is_zero) place.old_bytes = std::span(record.bytes).subspan(saved, length);
      places_.push_back(place);
      used += in_memory(range.length);
    }
    if (!range.is_zero) saved += range.length.value();
  }
}

void UndoWork::transfer_places(Direction direction) {
  requests_.clear();
  for (const Place& place : places_) {
    requests_.push_back({direction, place.range->offset, place.memory});
  }
  if (const auto failed = transfer(origin_, *queue_, requests_)) throw io_error(origin_, *failed);
}

bool UndoWork::is_old(const Place& place) const {
  return place.range->is_zero ? all_zero(place.memory)
                              : std::ranges::equal(place.memory, place.old_bytes);
}

void UndoWork::check(bool accept_changes) {
  begin_phase(Phase::kVerifying);
  const JournalProgress& reached = journal_.progress();
  const bool begun = journal_.state() == JournalState::kUndoing;
  UndoLogReader reader = read_log(log_, path_, journal_);
  for (UndoRecord record; reader.next(record, What::kAll); end_record(record)) {
    if (stop_.stop_requested()) throw stopped("nothing was put back");
    const bool is_undone = reader.offset() <= reached.undone_bytes;
    // A crash of the merge, or of an earlier undo, may have left any bytes there.
    const bool may_be_torn = begun ? !is_undone : record.position > reached.position;
    if (accept_changes || may_be_torn) continue;
    check_record(record, is_undone);
  }
}

void UndoWork::check_record(const UndoRecord& record, bool is_undone) {
  lay_out(record, is_undone ? journal_.record().origin_size_before : origin_.size());
  transfer_places(Direction::kRead);
  for (const Place& place : places_) {
    // A range that an undo has cut off cannot be compared.
    const bool is_whole = Bytes(place.memory.size()) == place.range->length;
    const bool is_as_left =
        is_undone ? is_old(place) : !is_whole || digest_of(place.memory) == place.range->digest;
    if (is_as_left) continue;
    throw Error(MessageId::kOriginChanged,
                "the " + journal_.record().role() + " " + origin_.name() +
                    " was written to since the " + journal_.record().deed() + ", between bytes " +
                    std::to_string(place.range->offset.value()) + " and " +
                    std::to_string((place.range->offset + place.range->length).value()),
                "the undo would put older bytes over newer ones; to do that, add "
                "--allow-stale");
  }
}

void UndoWork::put_back(bool accept_changes) {
  begin_phase(Phase::kUndoing);
  const Bytes end = journal_.record().origin_size_before;
  const Bytes begun = accept_changes ? Bytes(0) : journal_.progress().undone_bytes;
  Bytes recorded = begun;
  Clock::time_point recorded_at = Clock::now();
  UndoLogReader reader = read_log(log_, path_, journal_);
  for (UndoRecord record; reader.next(record, What::kAll); end_record(record)) {
    if (reader.offset() <= begun) continue;
    lay_out(record, end);
    for (const Place& place : places_) {
      if (place.range->is_zero) {
        std::ranges::fill(place.memory, std::byte{0});
      } else {
        std::ranges::copy(place.old_bytes, place.memory.begin());
      }
    }
    transfer_places(Direction::kWrite);
    const bool stopping = stop_.stop_requested();
    const bool due = reader.offset() - recorded >= kCheckpointBytes ||
                     Clock::now() - recorded_at >= kCheckpointTime;
    if (!due && !stopping) continue;
    record_undone(reader.offset());
    recorded = reader.offset();
    recorded_at = Clock::now();
    if (stopping) throw stopped("part of the merge is undone");
  }
  record_undone(reader.offset());
  if (origin_.size() > end) origin_.resize(end);
}

void UndoWork::record_undone(Bytes offset) {
  flush_fully(origin_,
              "look at the kernel log (dmesg), repair the device, and run the same command again");
  if (check_origin_) check_origin_();
  JournalProgress progress = journal_.progress();
  progress.undone_bytes = offset;
  journal_.record_progress(progress);
  progress_.durable_bytes = progress_.done_bytes.load();
}

void UndoWork::verify() {
  begin_phase(Phase::kVerifying);
  UndoLogReader reader = read_log(log_, path_, journal_);
  for (UndoRecord record; reader.next(record, What::kAll); end_record(record)) {
    if (stop_.stop_requested())
      throw stopped("everything is put back, but not everything is compared yet");
    lay_out(record, journal_.record().origin_size_before);
    transfer_places(Direction::kRead);
    for (const Place& place : places_) {
      if (is_old(place)) continue;
      JournalProgress nothing = journal_.progress();
      nothing.undone_bytes = Bytes(0);
      journal_.record_progress(nothing);
      throw Error(MessageId::kDiffers,
                  "the origin " + origin_.name() + " differs from what was put back, after byte " +
                      std::to_string(place.range->offset.value()),
                  "something else writes to the origin, or it loses writes; stop that and run the "
                  "same command again: it puts everything back once more");
    }
  }
}

}  // namespace extmerge
