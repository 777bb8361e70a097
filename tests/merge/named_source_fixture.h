// SPDX-License-Identifier: GPL-3.0-or-later
//
// A merge with the additions of an LVM source (merge/job.h), on simulated disks.

#pragma once

#include <vector>

#include "tests/merge/merge_fixture.h"

namespace extmerge {

// The plan is 6 blocks: 0, 1, 4, 6, 7 and 11 of thin 1.
class NamedSource : public LivePool {
 protected:
  static constexpr ThinId kOther{2};
  inline static const std::vector<uint64_t> kAll = {0, 1, 4, 6, 7, 11};

  // A pool in which thin 2 maps those blocks.
  void use_other(const std::vector<uint64_t>& blocks) {
    use_metadata([](MetadataBuilder&) {}, RootChoice::kHeld, blocks);
  }
  void use_metadata(const std::function<void(MetadataBuilder&)>& change,
                    RootChoice choice = RootChoice::kHeld,
                    const std::vector<uint64_t>& other_blocks = {0, 1, 4, 6, 7, 11}) {
    std::vector<BuiltMapping> mappings;
    for (const uint64_t block : other_blocks) mappings.push_back({block, mappings.size()});
    other_mappings = mappings;
    LivePool::use_metadata(change, choice);
  }
  void add_devices(MetadataBuilder& pool) override {
    pool.add_device(value(kOther), pool.add_tree(other_mappings));
  }
  // Sets the users of the origin, as LVM lists them.
  void users(const std::vector<OriginUser>& list) { job->origin_users = list; }
  void expect_done() { EXPECT_EQ(merge().state, JournalState::kDone) << words; }
  JournalState journal_state() { return Journal::open(*directory, "journal", false)->state(); }
  Bytes recorded_position() {
    return Journal::open(*directory, "journal", false)->progress().position;
  }

  std::vector<BuiltMapping> other_mappings;
};

}  // namespace extmerge
