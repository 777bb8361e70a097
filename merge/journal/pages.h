// SPDX-License-Identifier: GPL-3.0-or-later
//
// The plan on disk: pages of 4096 bytes that hold runs, a few bytes each. A page tells its position
// in the plan and can be decoded by itself. So a resume finds its place by binary search, and
// damage has an address.
//
// Memory: a piece of at most 1 MiB of the file, however long the plan.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/durable_file.h"
#include "merge/journal/format.h"
#include "merge/plan/runs.h"

namespace extmerge {

struct PlanPage {
  Bytes position;  // planned bytes before its first run
  Bytes end;       // and after its last
  std::vector<Run> runs;
};

// Writes runs as pages into a new journal.
class PlanPageWriter {
 public:
  // `file` must outlive it.
  PlanPageWriter(DurableFile& file, uint64_t nonce, const PlanLimits& limits);

  // Throws kInternal for an invalid run: runs rise, do not overlap and begin before the plan's end.
  void add(const Run& run);
  // Call it once, after the last run. Nothing is synced.
  void finish();

  uint64_t runs() const { return runs_; }
  Bytes position() const { return position_; }  // after the last run
  uint64_t pages() const { return pages_; }     // complete after finish()

 private:
  bool append(const Run& run);
  void end_page();
  void write_piece();

  DurableFile& file_;
  const uint64_t nonce_;
  const PlanLimits limits_;
  std::vector<std::byte> piece_;  // pages not yet written, and the one being filled
  size_t page_at_ = 0;            // the filled page's place in it
  size_t used_ = 0;               // of the page
  uint32_t runs_in_page_ = 0;
  Run previous_;  // in the page; the next run is relative to it
  Bytes page_position_;
  ThinBlock least_;  // where the next run may begin
  uint64_t runs_ = 0;
  Bytes position_;
  uint64_t pages_ = 0;  // complete ones
};

// False if the page is damaged, of another journal or version, not number `index`, or holds runs
// that are invalid with these limits.
bool decode_plan_page(std::span<const std::byte> bytes, uint32_t version, uint64_t nonce,
                      uint64_t index, const PlanLimits& limits, PlanPage& page);

// The pages of one journal, to read.
class PlanPages {
 public:
  // `file` must outlive it, `path` is for messages.
  PlanPages(DurableFile& file, std::string path, uint32_t version, uint64_t nonce,
            const PlanLimits& limits, uint64_t pages, Bytes copy_bytes)
      : file_(file),
        path_(std::move(path)),
        version_(version),
        nonce_(nonce),
        limits_(limits),
        pages_(pages),
        copy_bytes_(copy_bytes) {}

  // The run that holds `position` and all after it; none at the end. `skip` is the position's
  // offset in the first run. The source must not outlive this object. It throws kDamagedJournal at
  // a damaged page.
  std::unique_ptr<RunSource> runs_from(Bytes position, Bytes& skip) const;
  // All runs, also those that are only recorded.
  std::unique_ptr<RunSource> all_runs() const;

  // Reads the whole plan. Throws kDamagedJournal unless it has that many runs and that digest;
  // kStopped if `stop` was requested.
  void check_all(uint64_t runs, const PlanDigest& digest, const std::stop_token& stop) const;

 private:
  class Source;
  Error damaged_page(uint64_t index) const;
  void decode(std::span<const std::byte> bytes, uint64_t index, PlanPage& page) const;
  void read(uint64_t index, std::span<std::byte> bytes) const;
  // The last page that does not begin after `position`. Sets `begin` to the page's position.
  uint64_t find_page(Bytes position, Bytes& begin) const;

  DurableFile& file_;
  const std::string path_;
  const uint32_t version_;
  const uint64_t nonce_;
  const PlanLimits limits_;
  const uint64_t pages_;
  const Bytes copy_bytes_;
};

}  // namespace extmerge
