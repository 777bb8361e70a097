// SPDX-License-Identifier: GPL-3.0-or-later
//
// Plans and journals for tests.

#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "merge/journal/header.h"
#include "merge/journal/journal.h"
#include "merge/journal/slots.h"
#include "merge/plan/digest.h"
#include "tests/support/simulated_world.h"

namespace extmerge {

using FileBytes = std::vector<std::byte>;
using Runs = std::vector<Run>;  // also since testing::Test hides Run
inline constexpr uint64_t kTestBlock = 64 << 10;
inline constexpr const char* kTestName = "origin.journal";

class ListedRuns : public RunSource {
 public:
  explicit ListedRuns(Runs runs) : runs_(std::move(runs)) {}
  bool next(Run& run) override {
    if (at_ == runs_.size()) return false;
    run = runs_[at_++];
    return true;
  }

 private:
  const Runs runs_;
  size_t at_ = 0;
};

inline Runs drain(RunSource& source) {
  Runs runs;
  for (Run run; source.next(run);) runs.push_back(run);
  return runs;
}

inline Run make_run(uint64_t thin, uint64_t data, uint64_t blocks) {
  return {ThinBlock(thin), DataBlock(data), blocks};
}

// `count` runs of 1 to 4 blocks with gaps between them.
inline Runs scattered_runs(size_t count, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  Runs runs;
  uint64_t thin = random() % 3;
  for (size_t i = 0; i < count; ++i) {
    runs.push_back(make_run(thin, random() % (uint64_t{1} << 30), 1 + random() % 4));
    thin += runs.back().blocks + 1 + random() % 5;
  }
  return runs;
}

// A record of this plan. The last block is copied in part.
inline MergeRecord record_for(const Runs& runs) {
  MergeRecord record;
  record.metadata = {"/dev/vg/pool_tmeta", "dm:LVM-metadata"};
  record.data = {"/dev/vg/pool_tdata", "dm:LVM-data"};
  record.origin = {"/dev/vg/origin", "dm:LVM-origin"};
  record.thin_id = ThinId{7};
  record.creation_time = 3;
  record.transaction_id = 11;
  record.root_choice = RootChoice::kBlock;
  record.root_block = MetadataBlock(99);
  record.mapping_root = MetadataBlock(123);
  record.block_size = DataBlockSize(Bytes(kTestBlock));
  record.logical_block_size = Bytes(512);
  const uint64_t blocks = runs.empty() ? 1 : runs.back().thin.value() + runs.back().blocks;
  record.plan_end = Bytes(blocks * kTestBlock - 512);
  record.thin_size = record.plan_end;
  record.origin_size_before = record.origin_size_after = record.plan_end + Bytes(1 << 20);
  record.runs = runs.size();
  record.created_at = 1700000000;
  RunDigest digest;
  for (const Run& run : runs) {
    record.mapped_blocks += run.blocks;
    record.copy_bytes += to_extent(run, record.limits()).length;
    digest.add(run);
  }
  record.digest = digest.finish(record.limits());
  return record;
}

inline std::unique_ptr<Journal> publish_journal(DurableDirectory& directory, const Runs& runs,
                                                const std::string& name = kTestName) {
  auto journal = Journal::begin(directory, name, record_for(runs));
  ListedRuns source(runs);
  journal->publish(source);
  return journal;
}

// The record's bytes on disk; equal bytes mean equal fields.
inline FileBytes on_disk(const MergeRecord& record) {
  JournalHeader header;
  header.record = record;
  return encode_header(header);
}

inline JournalProgress progress_at(uint64_t position) {
  return {Bytes(position), {Bytes(position + 1), Bytes(position / 3), Bytes(position / 2)}};
}

inline Bytes position_of(const Journal& journal) { return journal.progress().position; }

// The most that any intact slot of a journal file claims.
inline Bytes highest_claim(const FileBytes& file) {
  const JournalHeader header = choose_header(std::span(file).first(kSlotsOffset), kTestName).header;
  return find_progress(std::span(file).subspan(kSlotsOffset), header.nonce,
                       header.record.copy_bytes, kTestName)
      .value()
      .highest;
}

// The id of the Error that `action` throws; nothing if it does not throw.
template <typename Action>
std::optional<MessageId> refusal(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.id();
  }
  return {};
}

}  // namespace extmerge
