// SPDX-License-Identifier: GPL-3.0-or-later
//
// Small files that must survive a power cut: the journal. The interface is
// what a crash-safe writer needs and no more, so that a simulated directory
// (tests/support) can keep apart what was synced and what was not: names too
// are only durable once the directory is synced.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/units.h"

namespace extmerge {

// All failures are thrown as Error(kJournalIo), or kNoSpace, kPermission, kTooManyFiles, kNoMemory.
class DurableFile {
 public:
  virtual ~DurableFile() = default;
  virtual Bytes size() const = 0;
  // Reads up to the memory's size; returns the bytes read, fewer only at the end.
  virtual size_t read(Bytes offset, std::span<std::byte> memory) = 0;
  virtual void write(Bytes offset, std::span<const std::byte> memory) = 0;
  // Makes all writes durable (fdatasync). Must not be called again after it threw.
  virtual void sync() = 0;
  // Later reads see what the disk has. After a failed sync the page cache may show
  // what will never be there; only what was not synced since stays.
  virtual void drop_cache() = 0;
};

// Held for as long as it lives.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

class DurableDirectory {
 public:
  virtual ~DurableDirectory() = default;
  virtual const std::string& path() const = 0;

  // A new empty file, mode 0600; one of that name is replaced.
  virtual std::unique_ptr<DurableFile> create(const std::string& name) = 0;
  // Nothing if it does not exist. Throws kJournalUnsafe for anything but a
  // regular file with one link, owned by the caller or root, that nobody else
  // may write; the directory is held to the same standard.
  virtual std::unique_ptr<DurableFile> open(const std::string& name, bool writable) = 0;
  // Atomic, replaces `to`, and durable when it returns.
  virtual void rename(const std::string& from, const std::string& to) = 0;
  // Durable when it returns; no error if there is no such file.
  virtual void remove(const std::string& name) = 0;
  virtual std::vector<std::string> names() = 0;
  // Makes names durable that another process may have changed.
  virtual void sync() = 0;

  // An exclusive lock on `name` (made if missing, never removed), nothing if
  // somebody else holds it. The kernel lets go of it when the process is gone
  // and its I/O has landed.
  virtual std::unique_ptr<FileLock> try_lock(const std::string& name) = 0;
  // Whether somebody holds the lock on `name`. Makes and writes nothing, and is
  // no hindrance to a try_lock() at the same moment.
  virtual bool is_locked(const std::string& name) = 0;
};

// Makes `name`, replacing one that is there; after a power cut it is as it was before, or holds
// all of `contents`. Written under the name `aside`, which a cut may leave with anything in it.
// Returns the file, open for writing.
std::unique_ptr<DurableFile> create_whole(DurableDirectory& directory, const std::string& name,
                                          const std::string& aside,
                                          std::span<const std::byte> contents);

// For what is of no use any more. That it cannot be removed is no news where a disk fails.
void remove_if_possible(DurableDirectory& directory, const std::string& name);

}  // namespace extmerge
