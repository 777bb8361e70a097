// SPDX-License-Identifier: GPL-3.0-or-later
//
// Small files that must survive a power cut, such as the journal. The interface has only what a
// crash-safe writer needs. So a simulated directory (tests/support) can tell synced changes from
// others. Names are durable only once the directory is synced.

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
  // Makes all writes durable (fdatasync). Must not be called again after a failure.
  virtual void sync() = 0;
  // Drops the page cache, so that later reads see the disk. After a failed sync the cache may show
  // data that never reaches the disk. Changes that are not synced yet stay.
  virtual void drop_cache() = 0;
};

// A lock, held for the lifetime of the object.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

class DurableDirectory {
 public:
  virtual ~DurableDirectory() = default;
  virtual const std::string& path() const = 0;
  std::string path_of(const std::string& name) const { return path() + "/" + name; }

  // Makes a new empty file, mode 0600, and replaces an old one.
  virtual std::unique_ptr<DurableFile> create(const std::string& name) = 0;
  // Null if the file does not exist. Throws kJournalUnsafe unless it is a regular file with one
  // link, which only its owner, the caller or root, may write. The same holds for the directory.
  virtual std::unique_ptr<DurableFile> open(const std::string& name, bool writable) = 0;
  // Atomic; replaces `to`; durable on return.
  virtual void rename(const std::string& from, const std::string& to) = 0;
  // Durable on return. A missing file is no error.
  virtual void remove(const std::string& name) = 0;
  virtual std::vector<std::string> names() = 0;
  // Makes names durable, including changes by other processes.
  virtual void sync() = 0;

  // An exclusive lock on `name` (made if missing, never removed); nothing if another process holds
  // it. The kernel frees the lock when the process has ended and its I/O has landed.
  virtual std::unique_ptr<FileLock> try_lock(const std::string& name) = 0;
  // Whether a process holds the lock on `name`. Makes and writes nothing, and does not disturb a
  // try_lock() at the same moment.
  virtual bool is_locked(const std::string& name) = 0;
};

// Makes or replaces `name`. After a power cut `name` is unchanged, or holds all of `contents`. A
// cut may leave any contents under the temporary name. Returns the file, open for writing.
std::unique_ptr<DurableFile> create_whole(DurableDirectory& directory, const std::string& name,
                                          const std::string& aside,
                                          std::span<const std::byte> contents);

// Removes a file that is no longer needed. A failure is ignored: the disk may be the one that
// fails.
void remove_if_possible(DurableDirectory& directory, const std::string& name);

}  // namespace extmerge
