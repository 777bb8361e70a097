// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/journal/slots.h"

#include <algorithm>

#include "merge/journal/header.h"

namespace extmerge {

ProgressSlot encode_slot(uint64_t nonce, const SequencedProgress& progress) {
  DiskProgressSlot disk{};
  std::memcpy(disk.magic, kSlotMagic, sizeof disk.magic);
  disk.nonce.set(nonce);
  disk.sequence.set(progress.sequence);
  disk.position.set(progress.progress.position.value());
  const CopyCounters& counters = progress.progress.counters;
  disk.bytes_read.set(counters.bytes_read.value());
  disk.bytes_compared_equal.set(counters.bytes_compared_equal.value());
  disk.bytes_written.set(counters.bytes_written.value());
  disk.undo_log_bytes.set(progress.progress.undo_log_bytes.value());
  disk.undone_bytes.set(progress.progress.undone_bytes.value());

  ProgressSlot sector{};
  std::memcpy(sector.data(), &disk, sizeof disk);
  seal_part(sector);
  return sector;
}

std::optional<SequencedProgress> decode_slot(std::span<const std::byte> sector, uint64_t nonce,
                                             size_t slot) {
  const auto disk = load<DiskProgressSlot>(sector.data());
  if (!part_is_intact(sector) || std::memcmp(disk.magic, kSlotMagic, sizeof disk.magic) != 0 ||
      disk.nonce.get() != nonce || slot_of(disk.sequence.get()) != slot)
    return {};
  return SequencedProgress{disk.sequence.get(),
                           {Bytes(disk.position.get()),
                            {Bytes(disk.bytes_read.get()), Bytes(disk.bytes_compared_equal.get()),
                             Bytes(disk.bytes_written.get())},
                            Bytes(disk.undo_log_bytes.get()),
                            Bytes(disk.undone_bytes.get())}};
}

std::optional<FoundProgress> find_progress(std::span<const std::byte> area, uint64_t nonce,
                                           Bytes copy_bytes, const std::string& path) {
  std::optional<FoundProgress> found;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    const auto each = decode_slot(area.subspan(slot * kSlotDistance, kSlotSize), nonce, slot);
    if (!each) continue;
    if (!found) found = {*each, Bytes(0)};
    if (each->sequence > found->newest.sequence) found->newest = *each;
    found->highest = std::max(found->highest, each->progress.position);
  }
  if (found && found->highest > copy_bytes)
    throw damaged_journal(path, "its progress lies past the plan's end");
  return found;
}

}  // namespace extmerge
