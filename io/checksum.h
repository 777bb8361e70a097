// SPDX-License-Identifier: GPL-3.0-or-later
//
// CRC-32C (Castagnoli, reflected, polynomial 0x1EDC6F41), the checksum of dm-thin's metadata and of
// the journal. ISA-L computes it: it picks the fastest code for the processor at run time, and has
// portable code for the rest.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace extmerge {

// The running remainder without a final inversion, as in the kernel's dm_bm_checksum(): start with
// 0xffffffff. crc32c("123456789") with a final inversion is 0xe3069283.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t start = 0xffffffffu);

}  // namespace extmerge
