// SPDX-License-Identifier: GPL-3.0-or-later
//
// A pool and its external origin on three simulated disks, and beside them what
// a merge should make of it, worked out byte by byte from the list of mappings
// as the kernel reads a thin: no code of the program is used for that.
//
// What must hold at every moment, power or no power:
//   scene.snapshot_view() == scene.first_view()
//   scene.damage() is empty
// and once a merge is done:
//   the origin's contents == scene.expected_origin()
//
// Memory: four times the three disks, and copies of two of them while looking.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "merge/job.h"
#include "tests/support/scene_custody.h"
#include "tests/support/simulated_world.h"

namespace extmerge {

struct SceneShape {
  uint64_t block_size = 65536;
  std::optional<uint64_t> thin_size;  // not known without
  uint64_t origin_size = 0;
  std::vector<std::pair<uint64_t, uint64_t>> mappings;  // thin block, data block; in any order
  uint64_t logical_block_size = 512;                    // of all three disks
  // That many per cent of the 4 KiB pieces of mapped blocks hold what the origin
  // holds already: a thin provisions whole blocks for writes of single sectors.
  unsigned percent_equal = 0;
  uint32_t leaf_fill = 252;  // mappings per leaf of the metadata
  uint64_t seed = 1;
};

class MergeScene {
 public:
  using Contents = std::vector<std::byte>;

  MergeScene(SimulatedWorld& world, SceneShape shape);

  SimulatedDisk& metadata() const { return *metadata_; }
  SimulatedDisk& data() const { return *data_; }
  SimulatedDisk& origin() const { return *origin_; }
  static constexpr ThinId kThinId{1};

  // Each job has a custody of its own, which lives as long as the scene.
  // The three as images that are in nobody's way, thin size and root choice
  // (held) set. Undo logs are in the same directory. Opening metadata or data for writing throws.
  Job job(std::shared_ptr<DurableDirectory> directory,
          const std::string& journal = "journal") const;

  // The origin after the merge, if it is then `size` long (its first size, if
  // not given). What lay past its first end reads as zero where not mapped.
  Contents expected_origin(std::optional<uint64_t> size = {}) const;

  // What a reader of the thin sees now: mapped blocks from the data disk, the
  // rest from the origin, zeros past that. As long as the thin; where its size
  // is not known, as the higher of the origin's first end and the last mapped block's.
  Contents snapshot_view() const;
  const Contents& first_view() const { return first_view_; }
  const Contents& first_origin() const { return first_origin_; }

  // Complains, in words, if a reader of the thin does not see what it saw first. Says no more
  // than snapshot_view() compared with first_view(), in a tenth of the time.
  std::string view_damage() const;

  // Complains, in words, of any change to the metadata or data disk, or to a
  // byte of the origin that no mapped block covers; empty if there is none.
  std::string damage() const;

 private:
  uint64_t thin_end() const;
  // Puts the mapped blocks of `data` into an image of the thin, as far as that reaches.
  void lay_over(Contents& image, const Contents& data) const;

  const SceneShape shape_;
  std::shared_ptr<SimulatedDisk> metadata_;
  std::shared_ptr<SimulatedDisk> data_;
  std::shared_ptr<SimulatedDisk> origin_;
  Contents first_metadata_;
  Contents first_data_;
  Contents first_origin_;
  Contents first_view_;
  // Of the origin and of the thin, begin and end: what no mapped block covers.
  std::vector<std::pair<uint64_t, uint64_t>> unmapped_;
  mutable std::vector<std::unique_ptr<SceneCustody>> custodies_;
};

// Where two contents differ first, in words, with what each sector says it is;
// empty if they are equal. Printing megabytes would help nobody.
std::string first_difference(const std::vector<std::byte>& now,
                             const std::vector<std::byte>& expected);

}  // namespace extmerge
