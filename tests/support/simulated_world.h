// SPDX-License-Identifier: GPL-3.0-or-later
//
// Disks and a directory in memory that can lose power and fail any single operation. All operations
// are counted in one sequence. So a test can run a merge once to learn their number, and then cut
// or fail each in turn.
//
// Writes that are not yet flushed (or synced) are kept apart, in order. A running program sees
// them; the test chooses which survive restart(). Writes are torn at sectors of 512 bytes only.
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
  kWrite,   // one IoRequest of a disk
  kFlush,   // a disk
  kResize,  // a disk; the new size is in `offset`
  kFileRead,
  kFileWrite,
  kFileSync,
  kDirectory,  // create, rename (named by its source), remove
  kOpen        // open, names, try_lock, remove of a missing file: nothing can be lost
};

struct Operation {
  OperationKind kind;
  std::string object;  // the disk's or file's name, without the directory
  Bytes offset;
  Bytes length;
};

// The outcome of the operation with a given index.
//
// kError: the operation fails with `error_number`. A write may still have landed in any of its
// sectors. A flush or sync loses some unflushed writes, but the next one succeeds, as on real
// devices and page caches. A rename or removal may be visible, but is not durable.
//
// kShort: half of the operation happens, in whole sectors of at least the logical block size. A
// disk reports a short result, a file read returns less, and a file write then throws
// `error_number`. An operation without a length fails as with kError.
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
  // All operations, in the order of their execution.
  std::vector<Operation> history() const;

  // Operation `index` (counted from 0 since the last restart) and all later ones fail with EIO and
  // have no effect. Only operation `index` itself may still take effect, if it is a rename, a
  // removal or an extension.
  void cut_power_at(uint64_t index);
  // True once an operation has met the cut.
  bool power_is_cut() const;
  void fail_at(uint64_t index, const Fault& fault);
  // `observer` is called before each operation, whose index is then operations(); all other threads
  // wait. It may read disks and files, cut the power or set faults, but not begin operations. It
  // stays across restarts.
  void on_operation(std::function<void(const Operation&)> observer);

  // The power is back, and the program's files and locks are dead. Applies the surviving unflushed
  // writes, forgets faults and the cut, and counts from 0. No operation may be under way.
  void restart(Survivors survivors, uint64_t seed);

  // Saves the contents and unflushed writes of all parts. They can be restored any number of times,
  // each time followed by a restart(). No operation may be under way; the parts must still exist.
  using Saved = std::vector<std::function<void()>>;
  Saved save() const;
  void put_back(const Saved& saved);

 private:
  friend class SimulatedDisk;
  friend class SimulatedDirectory;
  std::shared_ptr<SimulatedState> state_;
};

// A write counts as flushed if its wait() has returned before flush() is called. Writes in flight
// must not overlap.
class SimulatedDisk : public BlockDevice {
 public:
  SimulatedDisk(SimulatedWorld& world, std::string name, std::vector<std::byte> contents,
                Bytes logical_block_size = Bytes(512));
  ~SimulatedDisk() override;

  // The contents that a reader sees now.
  std::vector<std::byte> contents() const;
  // The same without a copy; all operations wait.
  void look(const std::function<void(std::span<const std::byte>)>& at) const;
  // The contents that survive a power cut for certain.
  std::vector<std::byte> durable_contents() const;
  // True if any write was not flushed yet.
  bool dirty() const;
  // A write by another program: no operation, durable at once.
  void overwrite(Bytes offset, std::span<const std::byte> bytes);
  // Inverts the byte there.
  void flip(Bytes offset);

  const std::string& name() const override;
  Bytes size() const override;
  Bytes logical_block_size() const override;
  // Misaligned requests fail with -EINVAL in the result. A write across the end is a short success,
  // one at the end gives -ENOSPC, a read across the end is short.
  std::unique_ptr<AsyncQueue> make_queue(unsigned depth) override;
  int flush() override;
  void resize(Bytes size) override;
  void drop_cache() override;

 private:
  struct State;
  class Queue;
  std::shared_ptr<State> state_;
};

// A created file's name is durable only after a rename() or remove(), which sync the directory.
// Before, it survives a power cut by chance, even after a sync() of the file. All three become
// durable in order. A removed or replaced file is gone only for new readers.
class SimulatedDirectory : public DurableDirectory {
 public:
  explicit SimulatedDirectory(SimulatedWorld& world, std::string path = "/state");
  ~SimulatedDirectory() override;

  // For tests that damage a file: its whole contents, as a reader sees them.
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
