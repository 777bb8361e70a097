// SPDX-License-Identifier: GPL-3.0-or-later
//
// A pool and its external origin on three simulated disks, and the expected result of a merge. The
// result is computed byte by byte from the list of mappings, without code of the program.
//
// Conditions at every moment, with or without power:
//   scene.snapshot_view() == scene.first_view()
//   scene.damage() is empty
// and after a merge:
//   the origin's contents == scene.expected_origin()
//
// Memory: four times the three disks, and copies of two of them during a check.

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
  std::optional<uint64_t> thin_size;  // unknown if not set
  uint64_t origin_size = 0;
  std::vector<std::pair<uint64_t, uint64_t>> mappings;  // thin block, data block; in any order
  uint64_t logical_block_size = 512;                    // of all three disks
  // The percentage of 4 KiB units in mapped blocks that equal the origin: a thin provisions whole
  // blocks for writes of single sectors.
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

  // Each job has a custody of its own, which lives as long as the scene. A job with the three disks
  // as images without other users, and with thin size and root choice (held). Undo logs are in the
  // same directory. Opening metadata or data for writing throws.
  Job job(std::shared_ptr<DurableDirectory> directory,
          const std::string& journal = "journal") const;

  // The origin after the merge, with `size` bytes (by default its first size). Unmapped bytes past
  // its first end are zero.
  Contents expected_origin(std::optional<uint64_t> size = {}) const;

  // The contents that the thin shows now: mapped blocks from the data disk, the rest from the
  // origin, zeros past that. The length is the thin's; if unknown, the higher of the origin's first
  // end and the last mapped block's.
  Contents snapshot_view() const;
  const Contents& first_view() const { return first_view_; }
  const Contents& first_origin() const { return first_origin_; }

  // A complaint, in words, if the thin's contents have changed. The same as comparing
  // snapshot_view() with first_view(), in a tenth of the time.
  std::string view_damage() const;

  // A complaint, in words, about any change to the metadata or data disk, or to unmapped bytes of
  // the origin. Empty if there is none.
  std::string damage() const;

 private:
  uint64_t thin_end() const;
  // Copies the mapped blocks of `data` into an image of the thin, up to the image's end.
  void lay_over(Contents& image, const Contents& data) const;

  const SceneShape shape_;
  std::shared_ptr<SimulatedDisk> metadata_;
  std::shared_ptr<SimulatedDisk> data_;
  std::shared_ptr<SimulatedDisk> origin_;
  Contents first_metadata_;
  Contents first_data_;
  Contents first_origin_;
  Contents first_view_;
  // Parts of the origin and of the thin that no mapped block covers: begin and end.
  std::vector<std::pair<uint64_t, uint64_t>> unmapped_;
  mutable std::vector<std::unique_ptr<SceneCustody>> custodies_;
};

// A job with three disks as images without other users. Opening metadata or data for writing
// throws. Undo logs are in the same directory. The custody must outlive the job.
Job image_job(const std::shared_ptr<SimulatedDisk>& metadata,
              const std::shared_ptr<SimulatedDisk>& data,
              const std::shared_ptr<SimulatedDisk>& origin,
              std::shared_ptr<DurableDirectory> directory, const std::string& journal,
              SceneCustody& custody);

// The first difference of two contents, in words, with the labels of both sectors. Empty if they
// are equal.
std::string first_difference(const std::vector<std::byte>& now,
                             const std::vector<std::byte>& expected);

}  // namespace extmerge
