// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal holds the plan and the progress. docs/journal-format.md has the bytes;
// docs/crash-safety.md the rules. In short:
//
//   NAME.new  built first: intent header, synced; plan pages; header, synced
//   NAME      renamed into place, directory synced, before the first origin
//             write; its size never changes again
//   NAME.lock flocked for as long as a merge or resume runs
//
// A crash before the rename leaves NAME.new: nothing was written to the origin, and the next run
// discards the file. Progress is a position in the plan: every planned byte below it is durable on
// the origin. The position is written to one-sector slots in turn, so that a torn slot loses time
// but never correctness. DONE is written to both headers and stays, so that a finished plan is not
// merged again by accident.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "io/durable_file.h"
#include "io/error.h"
#include "merge/journal/header.h"
#include "merge/journal/pages.h"
#include "merge/journal/slots.h"

namespace extmerge {

class Journal {
 public:
  // Opens the journal `name`; null if it is missing. A caller that acts on the contents passes
  // `writable`, which makes them durable first. A left-over NAME.new is no journal. open() verifies
  // the page of places, every plan page and the digest unless `pages` is false (status). Throws
  // kDamagedJournal, kJournalVersion, kJournalUnsafe; kStopped if `stop` is requested.
  static std::unique_ptr<Journal> open(DurableDirectory& directory, const std::string& name,
                                       bool writable, bool pages = true,
                                       const std::stop_token& stop = {});

  // Starts a new journal as NAME.new with a durable intent. The plan must have the counts and the
  // digest of `record`. `nonce` ties the parts together; by default it is random.
  static std::unique_ptr<Journal> begin(DurableDirectory& directory, const std::string& name,
                                        const MergeRecord& record,
                                        std::optional<uint64_t> nonce = {});
  // Writes the plan and puts the journal in place of an older one. Throws kStale if `runs` is not
  // the plan of the record. From then on, a merge can be resumed after a crash.
  void publish(RunSource& runs);
  // Whether `name` may be replaced: it is missing, empty, or has a journal's mark in a copy of its
  // header, even if the rest is damaged.
  static bool is_ours(DurableDirectory& directory, const std::string& name);
  // Throws kNotAJournal if extmerge cannot have left NAME.new.
  static void check_unpublished(DurableDirectory& directory, const std::string& name);
  // Removes NAME.new after that check. The file may be missing.
  static void discard_unpublished(DurableDirectory& directory, const std::string& name);

  // Throws kDamagedJournal if the merge has an undo log and no progress slot was intact. Then the
  // undo log's least size is unknown: bytes missing there would be saved again, as merged.
  void check_undo_log_is_known() const;

  const std::string& path() const { return path_; }  // for messages
  uint64_t nonce() const { return header_.nonce; }
  JournalState state() const { return header_.state; }
  const MergeRecord& record() const { return header_.record; }
  const JournalProgress& progress() const { return progress_.progress; }

  // Durable on return. The caller has flushed the origin. A position below the last one replaces
  // every higher claim in all slots. Only while copying or undoing.
  void record_progress(const JournalProgress& progress);
  // Durable on return. The last position must be recorded before. `fingerprint` describes the
  // merged origin (merge/journal/sample.h).
  void record_done(uint64_t fingerprint, Verified verified = Verified::kNothing) {
    record_state(JournalState::kDone, fingerprint, verified);
  }
  uint64_t fingerprint() const { return header_.fingerprint; }  // kDone only
  // How much of the state on the origin was compared, in this merge and those before; from kDone.
  Verified verified() const { return header_.verified; }
  // record_undoing() goes from kCopying or kDone to kUndoing, before the first byte is put back. A
  // continued undo calls it again. record_undone() goes to kUndone after the last byte. Both are
  // durable on return, in both copies of the header.
  void record_undoing() { record_state(JournalState::kUndoing, fingerprint(), verified()); }
  void record_undone() { record_state(JournalState::kUndone, fingerprint(), verified()); }

  // The runs from the one that holds `position`; none at the end. `skip` is the position's offset
  // in the first run. Another thread may record progress during the reading. The runs must not
  // outlive the journal.
  std::unique_ptr<RunSource> runs_from(Bytes position, Bytes& skip) const;
  std::unique_ptr<RunSource> all_runs() const;
  // The rest of the extent that holds `position`. Not valid at the end.
  Extent extent_at(Bytes position) const;

 private:
  Journal(std::unique_ptr<DurableFile> file, std::string path, JournalHeader header)
      : file_(std::move(file)), path_(std::move(path)), header_(std::move(header)) {}

  void build(RunSource& runs);
  void check_plan(const PlanPageWriter& writer, const PlanDigest& digest) const;
  void write_front();
  void load(std::span<const std::byte> front, size_t newest_copy);
  void load_places(std::span<const std::byte> front);
  void open_plan();
  const PlanPages& pages() const;
  void write_slot(const SequencedProgress& progress);
  void record_state(JournalState state, uint64_t fingerprint, Verified verified);
  void write_next_header(JournalHeader& next);
  void begin_record();

  std::unique_ptr<DurableFile> file_;
  const std::string path_;
  JournalHeader header_;
  size_t newest_copy_ = 0;
  SequencedProgress progress_;
  bool progress_is_lost_ = false;  // when it was opened
  Bytes highest_claim_;            // of any slot in the file
  std::optional<PlanPages> pages_;
  // Set during the write of a record; stays set if the write fails. After a failed sync the durable
  // state is unknown, and the next sync may falsely succeed.
  bool in_doubt_ = false;
  // The journal's place, set only between begin() and publish().
  DurableDirectory* directory_ = nullptr;
  std::string name_;
};

// A random number from the kernel. Throws kInternal.
uint64_t random_nonce();

// Names of the files beside the journal.
std::string unpublished_name(const std::string& name);  // NAME.new
// NAME.0123456789abcdef: a file of a few KiB before its first sync. After a power cut it may lack
// extmerge's mark, but no other program uses such a name.
std::string unmarked_name(const std::string& name, uint64_t nonce);
std::string lock_name(const std::string& name);  // NAME.lock
// The name of an origin's journal in the state directory: 16 hexadecimal digits of the XXH3 of its
// identity, and ".journal".
std::string default_journal_name(const std::string& origin_identity);

// Whether open() failed because of the journal's contents: damaged, or of another version.
bool is_unreadable_journal(const Error& error);

}  // namespace extmerge
