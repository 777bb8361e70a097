// SPDX-License-Identifier: GPL-3.0-or-later
//
// Problem: a cloud image named `.img` may be a qcow2 file. A merge would treat it as a raw disk and
// destroy it.
//
// Method: containers of a disk, compressed files and thin-pool metadata have a magic number near
// their start or end. Partition tables, file systems, LUKS, LVM and md are legitimate contents of
// an origin; the formats here are not. libblkid knows none of them (docs/design.md).
//
// Cost: two reads of 4 KiB.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "io/block_device.h"

namespace extmerge {

struct Container {
  bool at_start = true;  // else its magic number is at the end
  std::string format;    // "a qcow2 image"
  std::string cure;      // what to do, with a command that can be pasted
};

// The container on the device called `path`; nothing for a raw disk. The end is not checked if it
// lies inside a block that cannot be read directly. Throws kReadFailed.
std::optional<Container> find_container(BlockDevice& device, const std::string& path);

// The same from bytes: `head` begins at the start, `tail` ends at the end. Either is ignored if it
// is shorter than a sector.
std::optional<Container> find_container(std::span<const std::byte> head,
                                        std::span<const std::byte> tail, const std::string& path);

// kContainer. `role`: "origin" or "data device".
Error container_refused(const Container& container, const std::string& role,
                        const std::string& path);

}  // namespace extmerge
