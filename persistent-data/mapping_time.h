// SPDX-License-Identifier: GPL-3.0-or-later
//
// Finds out from a thin's mappings alone whether it was written to since a snapshot of it.
//
// A snapshot advances the pool's time, and each mapping has the time at which it was made. A block
// that the snapshot shares has an older time, and the first write to it makes a new mapping. So a
// thin whose mappings are all older than its snapshot was not written to since. The same blocks
// under the same root do not prove that, because the pool reuses blocks.

#pragma once

#include <cstdint>

#include "persistent-data/metadata_reader.h"

namespace extmerge {

// Whether all mappings of the tree are older than `time`, the pool's time when a snapshot was made.
// False if unknown: a mapping has only the lower 24 bits. Reads all leaves; throws as LeafScan
// does.
bool all_mapped_before(MetadataReader& reader, MetadataBlock root, uint32_t time);

}  // namespace extmerge
