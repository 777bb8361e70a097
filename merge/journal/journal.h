// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal: the plan, and how much of it is done. docs/journal-format.md has
// the bytes; docs/crash-safety.md the rules. In short:
//
//   NAME.new  built aside: intent header, synced; plan pages; header, synced
//   NAME      renamed into place, directory synced, before the first origin
//             write; its size never changes again
//   NAME.lock flocked for as long as a merge or resume runs
//
// A crash before the rename leaves NAME.new, which means nothing was written
// and is discarded. Progress is a position in the plan: every planned byte
// below it is durable on the origin. It is written to one-sector slots in turn,
// so that a torn slot loses time and never correctness. DONE is written to both
// headers and stays, so that a finished plan is not merged again by accident.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/durable_file.h"
#include "io/error.h"
#include "merge/journal/record.h"

namespace extmerge {

class Journal {
 public:
  // The journal `name`, nothing if there is none. `writable`: to act on what it says; that is
  // durable then. A left-over NAME.new is no
  // journal. Throws kDamagedJournal, kJournalVersion, kJournalUnsafe; verifies
  // every plan page and the digest unless `pages` is false (status); kStopped if `stop`
  // was requested meanwhile.
  static std::unique_ptr<Journal> open(DurableDirectory& directory, const std::string& name,
                                       bool writable, bool pages = true,
                                       const std::stop_token& stop = {});

  // Starts a new one aside (NAME.new) with an intent, durable. `record`'s
  // counts and digest are what the plan must turn out to have. `nonce` ties its parts
  // together; it is chosen here if it is not given.
  static std::unique_ptr<Journal> begin(DurableDirectory& directory, const std::string& name,
                                        const MergeRecord& record,
                                        std::optional<uint64_t> nonce = {});
  // Writes the plan and puts the journal in place, replacing an older one.
  // Throws kStale if `runs` is not the plan of the record. After it returns, a
  // crash can be resumed.
  void publish(RunSource& runs);
  // Whether `name` is empty or has a journal's mark at the start of either copy of
  // its header, however damaged the rest: what may be replaced. Also if it is missing.
  static bool is_ours(DurableDirectory& directory, const std::string& name);
  // Throws kNotAJournal where NAME.new is a file that extmerge cannot have left there.
  static void check_unpublished(DurableDirectory& directory, const std::string& name);
  // Removes NAME.new, if there is one, after that check.
  static void discard_unpublished(DurableDirectory& directory, const std::string& name);

  // Throws kDamagedJournal if no progress slot was intact, so that it is not known how much the
  // undo log, if there is one, must hold: what it misses would be saved once more, as merged.
  void check_undo_log_is_known() const;

  const std::string& path() const;  // for messages
  uint64_t nonce() const;
  JournalState state() const;
  const MergeRecord& record() const;
  const JournalProgress& progress() const;

  // Durable when it returns. The caller has flushed the origin. A position below
  // the last one takes back what was claimed, from every slot. While copying or undoing.
  void record_progress(const JournalProgress& progress);
  // Likewise; the last position must be recorded before. `fingerprint` describes
  // the merged origin (merge/journal/sample.h).
  void record_done(uint64_t fingerprint);
  uint64_t fingerprint() const;  // kDone only
  // From kCopying or kDone to kUndoing, before the first byte is put back, and once more when an
  // undo is continued; and from there to kUndone, after the last. Durable, in both copies of the
  // header, when it returns.
  void record_undoing();
  void record_undone();

  // The runs from the one on that holds `position`, none at the end; `skip` is how
  // far into it the position lies. May be read while another thread records
  // progress; must not outlive the journal.
  std::unique_ptr<RunSource> runs_from(Bytes position, Bytes& skip);
  // The rest of the extent that `position` lies in; there is none at the end.
  Extent extent_at(Bytes position);

  ~Journal();

 private:
  class Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// From the kernel's random numbers. Throws kInternal.
uint64_t random_nonce();

// The names beside the journal itself.
std::string unpublished_name(const std::string& name);  // NAME.new
// NAME.0123456789abcdef: a file of a few KiB before its first sync. What a power cut leaves
// of it bears no mark of ours for certain, but nobody else has the name.
std::string unmarked_name(const std::string& name, uint64_t nonce);
std::string lock_name(const std::string& name);  // NAME.lock
// The journal of an origin in the state directory: 16 hexadecimal digits of the
// XXH3 of its identity, and ".journal".
std::string default_journal_name(const std::string& origin_identity);

// Whether open() failed for what is in the journal: it is damaged, or of another version.
bool is_unreadable_journal(const Error& error);

}  // namespace extmerge
