// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/superblock.h"

#include <cstring>
#include <string>

#include "io/checksum.h"
#include "io/error.h"
#include "persistent-data/node.h"

namespace extmerge {
namespace {

constexpr uint32_t kMetadataBlockSectors = kMetadataBlockSize / kSectorSize;

// dm-thin's limits, in sectors: 64 KiB to 1 GiB in steps of 64 KiB.
constexpr uint32_t kMinDataBlockSectors = 128;
constexpr uint32_t kMaxDataBlockSectors = 2097152;

Error unsupported(std::string_view device, const std::string& what) {
  return Error(MessageId::kUnsupportedMetadata,
               "the pool metadata on " + std::string(device) + " " + what,
               "use a newer version of extmerge");
}

// The fault in the superblock's own fields, in words; empty if they are sound.
std::string fault_in_fields(const DiskSuperblock& disk, MetadataBlock location) {
  using std::to_string;
  if (disk.metadata_block_size.get() != kMetadataBlockSectors)
    return "the superblock gives metadata blocks of " + to_string(disk.metadata_block_size.get()) +
           " sectors";
  const uint32_t sectors = disk.data_block_size.get();
  if (sectors < kMinDataBlockSectors || sectors > kMaxDataBlockSectors ||
      sectors % kMinDataBlockSectors != 0)
    return "the superblock gives data blocks of " + to_string(sectors) + " sectors";
  // The kernel copies the superblock before it writes the copy's place into the live one.
  if (location.value() != 0 && disk.held_root.get() != 0)
    return "a metadata snapshot's superblock names a metadata snapshot, block " +
           to_string(disk.held_root.get());
  return {};
}

std::string fault_in_root(const char* name, uint64_t root, uint64_t metadata_blocks) {
  if (root != 0 && root < metadata_blocks) return {};
  return std::string("the superblock's ") + name + " is block " + std::to_string(root) + " of " +
         std::to_string(metadata_blocks);
}

}  // namespace

uint32_t superblock_checksum(std::span<const std::byte> block) {
  return crc32c(block.subspan(sizeof(le32), kMetadataBlockSize - sizeof(le32))) ^ kSuperblockSalt;
}

bool superblock_is_whole(std::span<const std::byte> block, MetadataBlock location) {
  const auto disk = load<DiskSuperblock>(block.data());
  return disk.csum.get() == superblock_checksum(block) && disk.blocknr.get() == location.value();
}

Superblock check_superblock(std::span<const std::byte> block, MetadataBlock location,
                            uint64_t metadata_blocks, std::string_view device) {
  using std::to_string;
  const auto disk = load<DiskSuperblock>(block.data());
  const auto refuse = [&](const std::string& what) { return damaged(location, what, device); };

  // Check the magic first, so that the message names a wrong device, not a wrong checksum.
  if (disk.magic.get() != kSuperblockMagic)
    throw refuse("this is not a superblock of thin-pool metadata, its magic number is " +
                 to_string(disk.magic.get()));
  if (disk.csum.get() != superblock_checksum(block))
    throw refuse("the superblock's checksum is " + to_string(disk.csum.get()) +
                 ", its bytes give " + to_string(superblock_checksum(block)));
  if (disk.blocknr.get() != location.value())
    throw refuse("the superblock says that it is block " + to_string(disk.blocknr.get()));
  if (disk.version.get() != kThinVersion)
    throw unsupported(device, "is of version " + to_string(disk.version.get()) + ", not " +
                                  to_string(kThinVersion));
  if (disk.incompat_flags.get() != 0)
    throw unsupported(device,
                      "uses features unknown here, flags " + to_string(disk.incompat_flags.get()));

  std::string fault = fault_in_fields(disk, location);
  if (fault.empty())
    fault = fault_in_root("mapping root", disk.data_mapping_root.get(), metadata_blocks);
  if (fault.empty())
    fault = fault_in_root("details root", disk.device_details_root.get(), metadata_blocks);
  if (fault.empty() && disk.held_root.get() != 0)
    fault = fault_in_root("metadata snapshot", disk.held_root.get(), metadata_blocks);
  if (!fault.empty()) throw refuse(fault);

  Superblock result;
  result.location = location;
  result.needs_check = disk.flags.get() & kFlagNeedsCheck;
  result.time = disk.time.get();
  result.transaction_id = disk.trans_id.get();
  result.held_root = MetadataBlock(disk.held_root.get());
  result.data_mapping_root = MetadataBlock(disk.data_mapping_root.get());
  result.device_details_root = MetadataBlock(disk.device_details_root.get());
  result.nr_data_blocks = disk.data_space_map_root.nr_blocks.get();
  result.data_block_size = DataBlockSize(to_bytes(Sectors(disk.data_block_size.get())));
  return result;
}

}  // namespace extmerge
