// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a disk or a file holds: the image that a power cut leaves, and in order
// the writes that are not flushed yet. Shared by the disks and the files of the
// simulated world. Two images in memory; no lock of its own.

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
  // Another one after each change of anything it holds; no two media share one.
  uint64_t version() const { return version_; }
  const Contents& durable() const { return durable_; }
  bool dirty() const { return !pending_.empty(); }

  // Seen at once, and growing the medium where it passes its end. Flushed by
  // flush() only once complete() was called with its id.
  WriteId begin_write(Bytes offset, std::span<const std::byte> bytes);
  void complete(WriteId id);
  // Begun and complete.
  void write(Bytes offset, std::span<const std::byte> bytes);
  // What a failed write may leave: any of its sectors.
  void write_torn(Bytes offset, std::span<const std::byte> bytes, SimulatedRandom& random);
  // Somebody else's write, durable at once.
  void overwrite(Bytes offset, std::span<const std::byte> bytes);

  // Durable at once.
  void resize(Bytes size);
  // The power went meanwhile: survives like an unflushed write.
  void resize_in_doubt(Bytes size);

  // Makes durable what is complete.
  void flush();
  // A failed flush: some of the unflushed writes, at least one, will never be
  // durable, and no later flush tells. `in_sight`: the page cache shows them all
  // the same, until it is dropped or the next restart.
  void lose_some(SimulatedRandom& random, bool in_sight);
  // Drops what the page cache shows of them.
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
  // The change cut at multiples of a sector, each part kept by chance.
  static std::vector<Change> tear(const Change& change, SimulatedRandom& random);
  void apply_torn(const Change& change, bool garbage, SimulatedRandom& random);

  void changed();

  Contents durable_;
  Contents visible_;
  bool is_deceptive_ = false;  // what is seen is neither durable nor pending
  uint64_t version_ = 0;
  std::vector<Change> pending_;  // in order of id
  WriteId next_id_ = 0;
};

}  // namespace extmerge
