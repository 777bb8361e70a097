// SPDX-License-Identifier: GPL-3.0-or-later
//
// Helpers that do a whole walk in one line.

#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "persistent-data/mapping_walk.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {

using ThinAndData = std::vector<std::pair<uint64_t, uint64_t>>;

inline ThinAndData all_of(MappingWalk& walk) {
  ThinAndData all;
  for (auto batch = walk.next(); !batch.empty(); batch = walk.next())
    for (const Mapping& mapping : batch)
      all.emplace_back(mapping.thin.value(), mapping.data.value());
  return all;
}

inline ThinAndData walk_tree(MetadataReader& reader, uint64_t root,
                             const MappingWalkOptions& options = {}) {
  MappingWalk walk(reader, MetadataBlock(root), options);
  return all_of(walk);
}

// Maps the thin blocks first, first + step, ... to data blocks in falling order.
inline std::vector<BuiltMapping> some_mappings(uint64_t count, uint64_t first = 0,
                                               uint64_t step = 3) {
  std::vector<BuiltMapping> mappings;
  for (uint64_t i = 0; i < count; ++i)
    mappings.push_back({first + i * step, 1000 + count - i, static_cast<uint32_t>(i % 7)});
  return mappings;
}

inline ThinAndData expected_of(const std::vector<BuiltMapping>& mappings) {
  ThinAndData all;
  for (const BuiltMapping& mapping : mappings) all.emplace_back(mapping.thin, mapping.data);
  return all;
}

}  // namespace extmerge
