// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/siblings.h"

#include <algorithm>

#include "merge/plan/key_stream.h"

namespace extmerge {

namespace {

// The planned blocks that `sibling` maps. First the sibling's inner nodes show the shared subtrees,
// which both walks then leave out. The rest is joined in key order.
TreeOverlap overlap_of(MetadataReader& reader, const PlannedTree& planned, MetadataBlock root,
                       DataBlock end_of_data, const std::stop_token& stop) {
  BlockSet shared(reader.nr_blocks());
  uint64_t harmed = 0;
  try {
    MappingWalk find_shared(reader, root,
                            {.end_of_data = end_of_data,
                             .skip = &planned.nodes(),
                             .skipped = &shared,
                             .inner_nodes_only = true});
    while (!find_shared.next().empty()) {
    }

    const MappingWalkOptions unshared{.end_of_data = end_of_data, .skip = &shared};
    KeyStream ours(reader, planned.source()->mapping_root, unshared);
    KeyStream theirs(reader, root, unshared);
    for (; !ours.at_end() && ours.key().value() < planned.end_block(); ours.advance()) {
      if (stop.stop_requested()) throw stopped_while_planning();
      if (!planned.limits().is_planned(ours.key(), ours.time())) continue;
      if (!theirs.find(ours.key())) ++harmed;
    }
  } catch (const Error& error) {
    if (error.id() != MessageId::kMetadataDamaged) throw;
    return {0, true};
  }
  return {planned.planned_blocks() - harmed, false};
}

// The same for a plan without a tree.
TreeOverlap overlap_with(RunSource& plan, MetadataReader& reader, const PlannedTree& planned,
                         MetadataBlock root, DataBlock end_of_data, const std::stop_token& stop) {
  try {
    const uint64_t harmed = count_unmapped(plan, reader, root, end_of_data, stop);
    return {planned.planned_blocks() - harmed, false};
  } catch (const Error& error) {
    if (error.id() != MessageId::kMetadataDamaged) throw;
    return {0, true};
  }
}

}  // namespace

bool is_descendant(MetadataReader& reader, const ThinDevice& younger, const ThinDevice& older,
                   DataBlock end_of_data, const std::stop_token& stop) {
  constexpr uint64_t kMost = 1 << 20;
  // A thin that was never the parent of a snapshot has two equal times.
  if (older.snapshotted_time <= older.creation_time) return false;
  if (older.creation_time >= younger.creation_time || younger.creation_time >= kEndOfTimes)
    return false;
  try {
    KeyStream ours(reader, younger.mapping_root, {.end_of_data = end_of_data});
    KeyStream theirs(reader, older.mapping_root, {.end_of_data = end_of_data});
    while (!ours.at_end() && !theirs.at_end()) {
      if (stop.stop_requested()) throw stopped_while_planning();
      if (ours.delivered() > kMost || theirs.delivered() > kMost) return false;
      if (ours.key() < theirs.key()) {
        ours.advance();
      } else if (theirs.key() < ours.key()) {
        theirs.advance();
      } else {
        const bool is_own = theirs.time() >= older.creation_time;
        if (is_own && theirs.time() == ours.time() && theirs.data() == ours.data()) return true;
        ours.advance();
        theirs.advance();
      }
    }
  } catch (const Error& error) {
    if (error.id() != MessageId::kMetadataDamaged) throw;
  }
  return false;
}

uint64_t count_unmapped(RunSource& runs, MetadataReader& reader, MetadataBlock mapping_root,
                        DataBlock end_of_data, const std::stop_token& stop) {
  KeyStream mapped(reader, mapping_root, {.end_of_data = end_of_data});
  uint64_t count = 0;
  for (Run run; runs.next(run);) {
    if (stop.stop_requested()) throw stopped_while_planning();
    const ThinBlock end = run.thin + run.blocks;
    mapped.find(run.thin);
    count += run.blocks;
    for (; !mapped.at_end() && mapped.key() < end; mapped.advance()) --count;
  }
  return count;
}

std::vector<Sibling> find_siblings(MetadataReader& reader, const std::vector<ThinDevice>& devices,
                                   const PlannedTree& planned, DataBlock end_of_data,
                                   const TreesRead& read, const std::stop_token& stop,
                                   const PlanRuns& plan) {
  const auto is_source = [&](const ThinDevice& device) {
    return planned.source() && device.id == planned.source()->id;
  };
  std::vector<MetadataBlock> roots;
  for (const ThinDevice& device : devices) {
    if (!is_source(device)) roots.push_back(device.mapping_root);
  }
  std::sort(roots.begin(), roots.end());
  roots.erase(std::unique(roots.begin(), roots.end()), roots.end());
  std::vector<TreeOverlap> overlaps;
  if (planned.has_all_bits()) {
    overlaps = count_overlaps(reader, roots, planned, end_of_data, read, stop);
  } else {
    for (const MetadataBlock root : roots) {
      if (stop.stop_requested()) throw stopped_while_planning();
      overlaps.push_back(planned.source()
                             ? overlap_of(reader, planned, root, end_of_data, stop)
                             : overlap_with(*plan(), reader, planned, root, end_of_data, stop));
      if (read) read(1, 0);
    }
  }

  std::vector<Sibling> siblings;
  siblings.reserve(devices.size());
  for (const ThinDevice& device : devices) {
    if (is_source(device)) continue;
    const auto root = std::lower_bound(roots.begin(), roots.end(), device.mapping_root);
    const TreeOverlap& overlap = overlaps[static_cast<size_t>(root - roots.begin())];
    const uint64_t mapped = overlap.damaged ? 0 : overlap.planned_blocks;
    siblings.push_back({.id = device.id,
                        .name = {},
                        .harmed_blocks = planned.planned_blocks() - mapped,
                        .unreadable = overlap.damaged});
  }
  return siblings;
}

}  // namespace extmerge
