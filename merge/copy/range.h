// SPDX-License-Identifier: GPL-3.0-or-later
//
// Copies one range of bytes between devices, outside of a plan and its journal. The whole copy can
// be repeated at any time, so a stop or a kill needs no position.
//
// Offsets and lengths are multiples of both devices' logical blocks.

#pragma once

#include <functional>

#include "io/block_device.h"

namespace extmerge {

// Where a range begins.
struct Place {
  BlockDevice& device;
  Bytes offset;
};

// Called before each piece of 1 MiB; throws to end the work.
using BeforePiece = std::function<void()>;

// Whether a byte of the range is not zero. Throws kReadFailed.
bool has_data(const Place& place, Bytes length, const BeforePiece& before_piece);

// Copies, makes the copy durable, and compares it. Zeros are not written where the target reads as
// zeros: a thin provisions no block for them. Throws kReadFailed, kWriteFailed, kFlushFailed,
// kDiffers.
void copy_range(const Place& from, const Place& to, Bytes length, const BeforePiece& before_piece);

}  // namespace extmerge
