// SPDX-License-Identifier: GPL-3.0-or-later
//
// Disks and a directory in memory that can lose power and fail any single
// operation. Every operation of every part is counted in one sequence, so that
// a test can run a merge once to learn how many there are and then cut or fail
// at each in turn.
//
// What was written and not yet flushed (or synced) is kept apart, in order. A
// running program sees it; whether it is still there after restart() is the
// test's choice. Writes are torn at sectors of 512 bytes only.
//
// Threads: everything may be called from several threads; one lock.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/block_device.h"
#include "io/durable_file.h"
#include "tests/support/simulated_medium.h"

namespace extmerge {

enum class OperationKind {
  kRead,    // one IoRequest of a disk
  kWrite,   // likewise
  kFlush,   // a disk
  kResize,  // a disk; the new size is in `offset`
  kFileRead,
  kFileWrite,
  kFileSync,
  kDirectory,  // create, rename (named by its source), remove
  kOpen        // open, names, try_lock, remove of what is not there: nothing to be lost
};

struct Operation {
  OperationKind kind;
  std::string object;  // the disk's or file's name, without the directory
  Bytes offset;
  Bytes length;
};

// What happens to the operation with a given index.
//
// kError: it fails with `error_number`. A write may still have landed in any of
// its sectors. A flush or sync loses some of what was not flushed for good, and
// the next one succeeds all the same, as real devices and page caches do. A
// rename or removal may have been seen, but is not durable.
//
// kShort: half of it happens, in whole sectors of at least the logical block
// size. A disk reports that as a short result; a file read returns less, a file
// write throws `error_number` after it. Anything without a length fails as with kError.
struct Fault {
  enum class Kind { kError, kShort } kind = Kind::kError;
  int error_number = 5;   // EIO
  bool for_ever = false;  // also every later operation of the same kind on the same object
};

class SimulatedDisk;
class SimulatedDirectory;
struct SimulatedState;

class SimulatedWorld {
 public:
  SimulatedWorld();
  ~SimulatedWorld();

  // Operations begun since the world was made or restarted. Those that found
  // the power cut are not among them.
  uint64_t operations() const;
  // All of them, in the order they were carried out in.
  std::vector<Operation> history() const;

  // From operation `index` on (counted from 0 since the last restart) nothing
  // happens any more: it and all later ones fail with EIO. Only that one, if it
  // is a rename, a removal or an extension, may turn out to have happened.
  void cut_power_at(uint64_t index);
  // True once an operation has met the cut.
  bool power_is_cut() const;
  void fail_at(uint64_t index, const Fault& fault);
  // Called before each operation, whose index is then operations(), with all
  // other threads kept waiting. May look at the disks and files and cut the
  // power or set faults from here on, but not begin operations. Stays across restarts.
  void on_operation(std::function<void(const Operation&)> observer);

  // The program is gone (its files and locks are dead) and the power is
  // back on: applies the survivors of what was not flushed, forgets faults and
  // the cut, counts from 0. No operation may be under way.
  void restart(Survivors survivors, uint64_t seed);

  // What all parts hold and what was not flushed, to be put back as often as wanted, each
  // time followed by a restart(). No operation may be under way; the parts must still be there.
  using Saved = std::vector<std::function<void()>>;
  Saved save() const;
  void put_back(const Saved& saved);

 private:
  friend class SimulatedDisk;
  friend class SimulatedDirectory;
  std::shared_ptr<SimulatedState> state_;
};

// A write counts as flushed if its wait() had returned before flush() was
// called. Writes in flight at once must not overlap.
class SimulatedDisk : public BlockDevice {
 public:
  SimulatedDisk(SimulatedWorld& world, std::string name, std::vector<std::byte> contents,
                Bytes logical_block_size = Bytes(512));
  ~SimulatedDisk() override;

  // What a reader would see now.
  std::vector<std::byte> contents() const;
  // The same, not copied; with all operations kept waiting.
  void look(const std::function<void(std::span<const std::byte>)>& at) const;
  // What a power cut would leave for certain.
  std::vector<std::byte> durable_contents() const;
  // True if any write was not flushed yet.
  bool dirty() const;
  // Somebody else's write: no operation, durable at once.
  void overwrite(Bytes offset, std::span<const std::byte> bytes);

  const std::string& name() const override;
  Bytes size() const override;
  Bytes logical_block_size() const override;
  // Misaligned requests fail with -EINVAL in the result, a write across the end
  // is a short success, one at the end -ENOSPC, a read across the end short.
  std::unique_ptr<AsyncQueue> make_queue(unsigned depth) override;
  int flush() override;
  void resize(Bytes size) override;
  void drop_cache() override;

 private:
  struct State;
  class Queue;
  std::shared_ptr<State> state_;
};

// The name of a created file survives a power cut by chance, also after a
// sync() of the file, until a rename() or remove() has synced the directory.
// All three happen in order. A removed or replaced file is gone for new readers only.
class SimulatedDirectory : public DurableDirectory {
 public:
  explicit SimulatedDirectory(SimulatedWorld& world, std::string path = "/state");
  ~SimulatedDirectory() override;

  // For tests that damage a file: its bytes as a reader sees them, nothing missing.
  std::vector<std::byte> file(const std::string& name) const;
  void put_file(const std::string& name, std::vector<std::byte> contents);
  bool has_file(const std::string& name) const;

  const std::string& path() const override;
  std::unique_ptr<DurableFile> create(const std::string& name) override;
  std::unique_ptr<DurableFile> open(const std::string& name, bool writable) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& name) override;
  std::vector<std::string> names() override;
  void sync() override;
  std::unique_ptr<FileLock> try_lock(const std::string& name) override;
  bool is_locked(const std::string& name) override;

 private:
  struct State;
  class File;
  class Lock;
  std::shared_ptr<State> state_;
};

}  // namespace extmerge
