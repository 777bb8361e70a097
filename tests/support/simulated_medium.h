// SPDX-License-Identifier: GPL-3.0-or-later
//
// The contents of a disk or a file: the image that a power cut leaves, and in order the writes that
// are not flushed yet. Disks and files of the simulated world use it. Two images in memory; no lock
// of its own.

#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "io/units.h"

namespace extmerge {

// Which of the unflushed changes a power cut leaves.
enum class Survivors {
  kNone,
  kAll,
  kPrefix,  // the first few, the last of them perhaps torn
  kSuffix,  // the last few, the first of them perhaps torn
  kRandom,  // any, each perhaps torn
  kGarbage  // any, each perhaps torn, and a sector where it is torn holds neither old nor new
};

using SimulatedRandom = std::mt19937_64;

// 0 to `end` - 1.
inline uint64_t random_below(SimulatedRandom& random, uint64_t end) { return random() % end; }
inline bool random_coin(SimulatedRandom& random) { return random_below(random, 2) == 0; }

class SimulatedMedium {
 public:
  using WriteId = uint64_t;
  using Contents = std::vector<std::byte>;

  explicit SimulatedMedium(Contents contents = {});

  const Contents& visible() const { return visible_; }
  // A number that changes with each change of the contents; no two media share one.
  uint64_t version() const { return version_; }
  const Contents& durable() const { return durable_; }
  bool dirty() const { return !pending_.empty(); }

  // The write is visible at once and may grow the medium. flush() covers it only once complete()
  // was called with its id.
  WriteId begin_write(Bytes offset, std::span<const std::byte> bytes);
  void complete(WriteId id);
  // A write that is begun and complete.
  void write(Bytes offset, std::span<const std::byte> bytes);
  // A failed write: any of its sectors may be written.
  void write_torn(Bytes offset, std::span<const std::byte> bytes, SimulatedRandom& random);
  // A write by another program, durable at once.
  void overwrite(Bytes offset, std::span<const std::byte> bytes);

  // Durable at once.
  void resize(Bytes size);
  // The power is cut during the resize: it survives like an unflushed write.
  void resize_in_doubt(Bytes size);

  // Makes complete writes durable.
  void flush();
  // A failed flush: at least one of the unflushed writes will never be durable, and no later flush
  // reports that. With `in_sight` the page cache still shows it, until the cache is dropped or the
  // next restart.
  void lose_some(SimulatedRandom& random, bool in_sight);
  // Drops the page cache of such lost writes.
  void forget_deception();

  void restart(Survivors survivors, SimulatedRandom& random);

 private:
  struct Change {
    WriteId id = 0;
    bool complete = false;
    Bytes offset;
    Contents bytes;
    bool resizes = false;  // to `offset`
  };

  static void apply(Contents& image, const Change& change);
  // Cuts the change at multiples of a sector and keeps each part by chance.
  static std::vector<Change> tear(const Change& change, SimulatedRandom& random);
  void apply_torn(const Change& change, bool garbage, SimulatedRandom& random);

  void changed();

  Contents durable_;
  Contents visible_;
  bool is_deceptive_ = false;  // the visible image is neither durable nor pending
  uint64_t version_ = 0;
  std::vector<Change> pending_;  // in order of id
  WriteId next_id_ = 0;
};

}  // namespace extmerge
