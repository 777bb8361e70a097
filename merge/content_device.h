// SPDX-License-Identifier: GPL-3.0-or-later
//
// Everything that a thin shows, as one device to read: the data device of its pool at its own
// offsets, and what the thin shows where it maps nothing at kUnmappedAt and kZerosAt
// (merge/plan/run.h). So a copy has one data device, as a merge has.
//
// Memory: a request of each transfer in flight from the external origin.

#pragma once

#include <memory>

#include "io/block_device.h"

namespace extmerge {

// `origin` is the external origin; past its end everything is zeros. Null: it cannot be read now,
// and a read of it fails (ENODEV). Nothing is written.
std::unique_ptr<BlockDevice> make_content_device(std::shared_ptr<BlockDevice> data,
                                                 std::shared_ptr<BlockDevice> origin);

}  // namespace extmerge
