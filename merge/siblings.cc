// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/siblings.h"

#include <algorithm>

namespace extmerge {

namespace {

// One tree's mappings one at a time, in order, as the other side of a join.
class KeyStream {
 public:
  KeyStream(MetadataReader& reader, MetadataBlock root, const MappingWalkOptions& options)
      : walk_(reader, root, options), batch_(walk_.next()) {}

  bool at_end() const { return batch_.empty(); }
  ThinBlock key() const { return batch_.front().thin; }
  void advance() {
    batch_ = batch_.subspan(1);
    if (batch_.empty()) batch_ = walk_.next();
  }

 private:
  MappingWalk walk_;
  std::span<const Mapping> batch_;
};

// Planned blocks of `source` that `sibling` does not map. Subtrees that both
// have are found first, from the sibling's inner nodes alone, and then left out
// of both walks; what remains is joined in key order.
uint64_t count_harmed(MetadataReader& reader, const ThinDevice& source, const ThinDevice& sibling,
                      const BlockSet& source_blocks, DataBlock end_of_data, uint64_t end_block,
                      const std::stop_token& stop) {
  BlockSet shared(reader.nr_blocks());
  MappingWalk find_shared(reader, sibling.mapping_root,
                          {.end_of_data = end_of_data,
                           .skip = &source_blocks,
                           .skipped = &shared,
                           .inner_nodes_only = true});
  while (!find_shared.next().empty()) {
  }

  const MappingWalkOptions unshared{.end_of_data = end_of_data, .skip = &shared};
  KeyStream ours(reader, source.mapping_root, unshared);
  KeyStream theirs(reader, sibling.mapping_root, unshared);
  uint64_t harmed = 0;
  for (; !ours.at_end() && ours.key().value() < end_block; ours.advance()) {
    if (stop.stop_requested()) throw stopped_while_planning();
    while (!theirs.at_end() && theirs.key() < ours.key()) theirs.advance();
    if (theirs.at_end() || theirs.key() != ours.key()) ++harmed;
  }
  return harmed;
}

}  // namespace

uint64_t count_unmapped(RunSource& runs, MetadataReader& reader, const ThinDevice& device,
                        DataBlock end_of_data, const std::stop_token& stop) {
  KeyStream mapped(reader, device.mapping_root, {.end_of_data = end_of_data});
  uint64_t count = 0;
  for (Run run; runs.next(run);) {
    if (stop.stop_requested()) throw stopped_while_planning();
    const ThinBlock end = run.thin + run.blocks;
    while (!mapped.at_end() && mapped.key() < run.thin) mapped.advance();
    count += run.blocks;
    for (; !mapped.at_end() && mapped.key() < end; mapped.advance()) --count;
  }
  return count;
}

std::vector<Sibling> find_siblings(MetadataReader& reader, const std::vector<ThinDevice>& devices,
                                   const ThinDevice& source, const BlockSet& source_blocks,
                                   DataBlock end_of_data, const PlanLimits& limits,
                                   uint64_t plan_blocks, std::stop_token stop) {
  const uint64_t end_block = limits.block_size.blocks_holding(limits.end);
  std::vector<Sibling> siblings;
  for (const ThinDevice& device : devices) {
    if (device.id == source.id) continue;
    if (stop.stop_requested()) throw stopped_while_planning();
    Sibling sibling{.id = device.id, .name = {}, .harmed_blocks = 0, .unreadable = false};
    try {
      sibling.harmed_blocks =
          count_harmed(reader, source, device, source_blocks, end_of_data, end_block, stop);
    } catch (const Error& error) {
      if (error.id() != MessageId::kMetadataDamaged) throw;
      sibling.harmed_blocks = plan_blocks;
      sibling.unreadable = true;
    }
    siblings.push_back(sibling);
  }
  return siblings;
}

}  // namespace extmerge
