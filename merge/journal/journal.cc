// SPDX-License-Identifier: GPL-3.0-or-later
//
// A journal is trusted as a whole or not at all: open() checks every part. A wrong position or plan
// is a wrong byte on the origin; a refusal only costs time. One header copy, or progress slots, may
// be lost without a refusal: the newest intact slot is never ahead of the origin.

#include "merge/journal/journal.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "io/hash.h"
#include "io/text.h"
#include "merge/plan/digest.h"

namespace extmerge {

namespace {

// The part of the file before the plan of version 2, or the whole file if it is shorter.
std::vector<std::byte> read_front(DurableFile& file) {
  std::vector<std::byte> front(kPlanOffset);
  file.read(Bytes(0), front);
  return front;
}

void check_size(const DurableFile& file, const JournalHeader& header, const std::string& path) {
  const uint64_t size = file.size().value();
  const uint64_t plan = plan_offset(header.version);
  const uint64_t pages = (size - std::min(size, plan)) / kPlanPageSize;
  if (pages != header.plan_pages || size != plan + pages * kPlanPageSize)
    throw damaged_journal(path, "its size of " + std::to_string(size) + " bytes does not fit the " +
                                    std::to_string(header.plan_pages) + " pages of its plan");
}

void encode_places(uint64_t nonce, const std::vector<Bytes>& places, std::span<std::byte> page) {
  DiskPlacesPage disk{};
  disk.nonce.set(nonce);
  disk.count.set(places.size());
  std::memcpy(page.data(), &disk, sizeof disk);
  for (size_t i = 0; i < places.size(); ++i) {
    const le64 place(places[i].value());
    std::memcpy(page.data() + sizeof disk + i * sizeof place, &place, sizeof place);
  }
  seal_part(page);
}

// Nothing if the page is damaged, or of another journal.
std::optional<std::vector<Bytes>> decode_places(uint64_t nonce, std::span<const std::byte> page) {
  const auto disk = load<DiskPlacesPage>(page.data());
  if (!part_is_intact(page) || disk.nonce.get() != nonce || disk.count.get() > kMostPlaces)
    return {};
  std::vector<Bytes> places;
  for (uint64_t i = 0; i < disk.count.get(); ++i) {
    places.emplace_back(load<le64>(page.data() + sizeof disk + i * sizeof(le64)).get());
    if (i > 0 && places[i - 1] >= places[i]) return {};
  }
  return places;
}

}  // namespace

uint64_t random_nonce() {
  uint64_t nonce = 0;
  if (getrandom(&nonce, sizeof nonce, 0) != static_cast<ssize_t>(sizeof nonce))
    throw system_error("get random bytes for", "the journal", errno, MessageId::kInternal);
  return nonce;
}

void Journal::build(RunSource& runs) {
  const PlanLimits limits = header_.record.limits();
  PlanPageWriter writer(*file_, header_.nonce, limits);
  RunDigest digest;
  for (Run run; runs.next(run);) {
    writer.add(run);
    digest.add(run);
  }
  writer.finish();
  check_plan(writer, digest.finish(limits));
  header_.plan_pages = writer.pages();
  header_.state = JournalState::kCopying;
  write_front();
  file_->sync();
  open_plan();
}

void Journal::check_plan(const PlanPageWriter& writer, const PlanDigest& digest) const {
  const MergeRecord& record = header_.record;
  if (writer.runs() == record.runs && writer.position() == record.copy_bytes &&
      digest == record.digest)
    return;
  throw Error(MessageId::kStale,
              "the mappings of " + thin_id_text(record.thin_id) + " on " + record.metadata.path +
                  " have changed since they were planned",
              "make sure that nothing uses the pool or its metadata snapshot and run the same "
              "command again; nothing was written to the origin");
}

// Writes both headers, all slots and the gaps between them, so that every block of the file is
// allocated.
void Journal::write_front() {
  std::vector<std::byte> front(kPlanOffset);
  const auto at = [&front](size_t offset) {
    return front.begin() + static_cast<ptrdiff_t>(offset);
  };
  for (size_t copy = 0; copy < kHeaderCopies; ++copy) {
    ++header_.sequence;
    std::ranges::copy(encode_header(header_), at(copy * kHeaderSize));
    newest_copy_ = copy;
  }
  for (size_t slot = 0; slot < kSlots; ++slot) {
    progress_.sequence = slot;
    std::ranges::copy(encode_slot(header_.nonce, progress_),
                      at(kSlotsOffset + slot * kSlotDistance));
  }
  encode_places(header_.nonce, header_.record.old_places,
                std::span(front).subspan(kPlacesOffset, kPlanPageSize));
  file_->write(Bytes(0), front);
}

void Journal::load_places(std::span<const std::byte> front) {
  if (header_.version == 1) return;
  const auto places = decode_places(header_.nonce, front.subspan(kPlacesOffset, kPlanPageSize));
  if (!places) throw damaged_journal(path_, "its page of places is not intact");
  header_.record.old_places = *places;
}

void Journal::load(std::span<const std::byte> front, size_t newest_copy) {
  newest_copy_ = newest_copy;
  const Bytes copy_bytes = header_.record.copy_bytes;
  const auto found = find_progress(front.subspan(kSlotsOffset), header_.nonce, copy_bytes, path_);
  // Without an intact slot the copy restarts from the beginning, which is slow but right.
  progress_is_lost_ = !found;
  progress_ = found ? found->newest : SequencedProgress{kSlots - 1, {}};
  highest_claim_ = found ? found->highest : Bytes(0);
  JournalProgress& progress = progress_.progress;
  progress.undo_log_bytes = std::max(progress.undo_log_bytes, header_.undo_log_bytes);
  if (header_.state == JournalState::kDone) progress.position = copy_bytes;
  open_plan();
}

void Journal::open_plan() {
  const MergeRecord& record = header_.record;
  pages_.emplace(*file_, path_, header_.version, header_.nonce, record.limits(), header_.plan_pages,
                 record.copy_bytes);
}

const PlanPages& Journal::pages() const {
  if (!pages_) throw misuse("the journal " + path_ + " has no plan yet");
  return *pages_;
}

void Journal::record_progress(const JournalProgress& progress) {
  if (progress.position > header_.record.copy_bytes)
    throw misuse("position " + std::to_string(progress.position.value()) +
                 " lies past the end of the plan in " + path_);
  if (!is_under_way(header_.state))
    throw misuse("cannot record progress in the journal " + path_ + ": nothing is under way");
  begin_record();
  SequencedProgress next{progress_.sequence + 1, progress};
  write_slot(next);
  file_->sync();
  if (highest_claim_ > progress.position) {
    // This slot takes back the claims of others. Overwrite those, so that they do not count if this
    // slot is damaged later.
    for (size_t i = 1; i < kSlots; ++i) {
      ++next.sequence;
      write_slot(next);
    }
    file_->sync();
  }
  progress_ = next;
  highest_claim_ = progress.position;
  in_doubt_ = false;
}

void Journal::write_slot(const SequencedProgress& progress) {
  file_->write(Bytes(kSlotsOffset + slot_of(progress.sequence) * kSlotDistance),
               encode_slot(header_.nonce, progress));
}

void Journal::record_state(JournalState state, uint64_t fingerprint, Verified verified) {
  // A continued undo writes the state again: a kill may have left another state in one copy.
  const bool is_undoing_again =
      state == JournalState::kUndoing && header_.state == JournalState::kUndoing;
  const bool follows = (state > header_.state || is_undoing_again) &&
                       (header_.state == JournalState::kCopying || state != JournalState::kDone) &&
                       (header_.state == JournalState::kUndoing || state != JournalState::kUndone);
  if (!follows || header_.state == JournalState::kIntent)
    throw misuse("the journal " + path_ + " cannot get into another state like that");
  if (state == JournalState::kDone && progress_.progress.position != header_.record.copy_bytes)
    throw misuse("the plan in the journal " + path_ + " is not copied to its end");
  begin_record();
  JournalHeader next = header_;
  next.state = state;
  next.fingerprint = fingerprint;
  if (next.version > 1) next.verified = verified;
  if (!is_undoing_again) next.undo_log_bytes = progress_.progress.undo_log_bytes;
  for (size_t copy = 0; copy < kHeaderCopies; ++copy) write_next_header(next);
  header_ = next;
  in_doubt_ = false;
}

// Writes over the older copy: the newer one is valid until this one is durable.
void Journal::write_next_header(JournalHeader& next) {
  ++next.sequence;
  const size_t copy = 1 - newest_copy_;
  file_->write(Bytes(copy * kHeaderSize), encode_header(next));
  file_->sync();
  newest_copy_ = copy;
}

void Journal::begin_record() {
  if (in_doubt_)
    throw Error(MessageId::kJournalIo,
                "cannot write to the journal " + path_ + ": an earlier write to it has failed",
                "see the kernel's log, repair the file system, and resume the merge");
  in_doubt_ = true;
}

std::unique_ptr<Journal> Journal::open(DurableDirectory& directory, const std::string& name,
                                       bool writable, bool pages, const std::stop_token& stop) {
  auto file = directory.open(name, writable);
  if (!file) return nullptr;
  const std::string path = directory.path_of(name);
  if (writable) {
    // The contents must also survive a power cut. A killed run, or a failed sync, may have left
    // data in the page cache that is not on the disk.
    file->sync();
    file->drop_cache();
    directory.sync();
  }
  const std::vector<std::byte> front = read_front(*file);
  const ChosenHeader chosen = choose_header(std::span(front).first(kSlotsOffset), path);
  const JournalHeader& header = chosen.header;
  if (header.state == JournalState::kIntent)
    throw damaged_journal(path, "it was put in place without a plan");
  check_size(*file, header, path);
  std::unique_ptr<Journal> journal(new Journal(std::move(file), path, header));
  journal->load(front, chosen.copy);
  if (!pages) return journal;
  journal->load_places(front);
  journal->pages().check_all(header.record.runs, header.record.digest, stop);
  return journal;
}

std::unique_ptr<Journal> Journal::begin(DurableDirectory& directory, const std::string& name,
                                        const MergeRecord& record, std::optional<uint64_t> nonce) {
  JournalHeader header;
  header.version = record.is_copy() ? kCopyFormatVersion : kMergeFormatVersion;
  header.sequence = 1;
  header.nonce = nonce ? *nonce : random_nonce();
  header.record = record;
  if (const auto why = find_implausible(header)) throw misuse("no merge can be like that: " + *why);
  // Write the intent to both copies: whichever sector a power cut tears later, one copy has the
  // mark. A name that is too long throws before a file is made.
  std::vector<std::byte> intent = encode_header(header);
  intent.insert(intent.end(), intent.begin(), intent.begin() + kHeaderSize);
  std::unique_ptr<Journal> journal(new Journal(
      create_whole(directory, unpublished_name(name), unmarked_name(name, header.nonce), intent),
      directory.path_of(name), header));
  journal->directory_ = &directory;
  journal->name_ = name;
  return journal;
}

void Journal::publish(RunSource& runs) {
  if (!directory_) throw misuse("the journal " + path_ + " is in place already");
  DurableDirectory& directory = *std::exchange(directory_, nullptr);
  const std::string unpublished = unpublished_name(name_);
  try {
    build(runs);
    directory.rename(unpublished, name_);
  } catch (...) {
    // Remove NAME.new: it may be large, and the disk may be full.
    remove_if_possible(directory, unpublished);
    throw;
  }
}

bool Journal::is_ours(DurableDirectory& directory, const std::string& name) {
  const auto file = directory.open(name, false);
  if (!file || file->size() == Bytes(0)) return true;
  const std::vector<std::byte> front = read_front(*file);
  for (size_t copy = 0; copy < kHeaderCopies; ++copy) {
    if (std::memcmp(&front[copy * kHeaderSize], kHeaderMagic, sizeof kHeaderMagic) == 0)
      return true;
  }
  return false;
}

void Journal::check_unpublished(DurableDirectory& directory, const std::string& name) {
  const std::string unpublished = unpublished_name(name);
  if (is_ours(directory, unpublished)) return;
  throw Error(
      MessageId::kNotAJournal,
      directory.path_of(unpublished) +
          " exists: extmerge builds the journal under that name, and did not make that file",
      "move it away, or name another journal with --journal");
}

void Journal::discard_unpublished(DurableDirectory& directory, const std::string& name) {
  check_unpublished(directory, name);
  directory.remove(unpublished_name(name));
}

void Journal::check_undo_log_is_known() const {
  // From DONE on the header has this size, too.
  if (record().undo_log.empty() || !progress_is_lost_ || state() != JournalState::kCopying) return;
  throw Error(MessageId::kDamagedJournal,
              "the journal " + path() +
                  " has lost its progress, and with it the expected length of the undo log " +
                  record().undo_log,
              "restore the journal from a copy; to restart from the beginning without undo, move "
              "the undo log away and merge with --restart");
}

std::unique_ptr<RunSource> Journal::runs_from(Bytes position, Bytes& skip) const {
  return pages().runs_from(position, skip);
}

std::unique_ptr<RunSource> Journal::all_runs() const { return pages().all_runs(); }

Extent Journal::extent_at(Bytes position) const {
  Bytes skip;
  Run run;
  if (!runs_from(position, skip)->next(run))
    throw misuse("there is no extent at the end of the plan in " + path_);
  Extent extent = to_extent(run, record().limits());
  extent.drop_front(skip);
  return extent;
}

std::string unpublished_name(const std::string& name) { return name + ".new"; }
std::string unmarked_name(const std::string& name, uint64_t nonce) {
  return name + "." + hex(nonce);
}
std::string lock_name(const std::string& name) { return name + ".lock"; }

std::string default_journal_name(const std::string& origin_identity) {
  return hex(hash_of(origin_identity)) + ".journal";
}

bool is_unreadable_journal(const Error& error) {
  return error.id() == MessageId::kDamagedJournal || error.id() == MessageId::kJournalVersion;
}

}  // namespace extmerge
