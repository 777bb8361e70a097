// SPDX-License-Identifier: GPL-3.0-or-later
//
// The thin devices of a pool. Two small B-trees keyed by thin id hold the root of each device's
// mapping tree, and its details. Their leaves are read in the order of places, many at once.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "persistent-data/metadata_reader.h"

namespace extmerge {

struct ThinDevice {
  ThinId id{};
  MetadataBlock mapping_root;
  uint64_t mapped_blocks = 0;
  uint64_t transaction_id = 0;  // of its creation: with creation_time this tells a
  uint32_t creation_time = 0;   // device from a later one with the same id
  uint32_t snapshotted_time = 0;
};

// All devices in order of id. Throws kMetadataDamaged, also if a device is in only one of the two
// trees or an id exceeds 24 bits.
std::vector<ThinDevice> read_devices(MetadataReader& reader, const Superblock& superblock);

// The device with that id among those of read_devices(); null if there is none.
const ThinDevice* device_of(const std::vector<ThinDevice>& devices, ThinId id);

// The device with that id; nothing if it is absent.
std::optional<ThinDevice> find_device(MetadataReader& reader, const Superblock& superblock,
                                      ThinId id);

}  // namespace extmerge
