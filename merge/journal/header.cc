// SPDX-License-Identifier: GPL-3.0-or-later
//
// A header counts if it is intact, if all its values are plausible, and if the other copy does not
// contradict it.

#include "merge/journal/header.h"

#include <bit>

#include "persistent-data/disk_format.h"

namespace extmerge {

namespace {

constexpr uint64_t kLargestSize = uint64_t{1} << 63;  // of a device: the range of off_t
constexpr uint64_t kBlockSizeUnit = 64 << 10;
constexpr uint64_t kLargestBlockSize = 1 << 30;

void append_string(std::vector<std::byte>& copy, size_t& at, const std::string& text, size_t most,
                   const std::string& what) {
  if (text.size() > most)
    throw Error(MessageId::kUsage,
                "the " + what + " has " + std::to_string(text.size()) +
                    " bytes; the journal holds at most " + std::to_string(most),
                "use a shorter path, for example a symbolic link to it");
  const le16 length(static_cast<uint16_t>(text.size()));
  std::memcpy(copy.data() + at, &length, sizeof length);
  std::memcpy(copy.data() + at + sizeof length, text.data(), text.size());
  at += sizeof length + text.size();
}

// False if the string does not fit, or holds a zero byte, which is impossible in a path.
bool take_string(std::span<const std::byte> copy, size_t& at, size_t most, std::string& text) {
  const size_t end = copy.size() - kChecksumSize;
  le16 length;
  if (end - at < sizeof length) return false;
  std::memcpy(&length, copy.data() + at, sizeof length);
  at += sizeof length;
  if (length.get() > most || length.get() > end - at) return false;
  text.assign(reinterpret_cast<const char*>(copy.data()) + at, length.get());
  at += length.get();
  return text.find('\0') == std::string::npos;
}

struct NamedDevice {
  const char* name;
  JournalDevice MergeRecord::*device;
};
constexpr NamedDevice kDevices[] = {{"metadata device", &MergeRecord::metadata},
                                    {"data device", &MergeRecord::data},
                                    {"origin", &MergeRecord::origin}};

DiskJournalHeader to_disk(const JournalHeader& header) {
  const MergeRecord& record = header.record;
  DiskJournalHeader disk{};
  std::memcpy(disk.magic, kHeaderMagic, sizeof disk.magic);
  disk.version.set(kJournalFormatVersion);
  disk.state.set(static_cast<uint32_t>(header.state));
  disk.sequence.set(header.sequence);
  disk.nonce.set(header.nonce);
  disk.thin_id.set(value(record.thin_id));
  disk.creation_time.set(record.creation_time);
  disk.transaction_id.set(record.transaction_id);
  disk.root_choice.set(static_cast<uint32_t>(record.root_choice));
  disk.beyond_origin.set(static_cast<uint32_t>(record.beyond_origin));
  disk.root_block.set(record.root_block.value());
  disk.mapping_root.set(record.mapping_root.value());
  disk.block_size.set(record.block_size.bytes().value());
  disk.logical_block_size.set(record.logical_block_size.value());
  disk.thin_size.set(record.thin_size.value_or(Bytes(0)).value());
  disk.thin_size_known.set(record.thin_size.has_value());
  disk.origin_size_before.set(record.origin_size_before.value());
  disk.origin_size_after.set(record.origin_size_after.value());
  disk.plan_end.set(record.plan_end.value());
  disk.mapped_blocks.set(record.mapped_blocks);
  disk.runs.set(record.runs);
  disk.copy_bytes.set(record.copy_bytes.value());
  std::memcpy(disk.digest, record.digest.bytes.data(), sizeof disk.digest);
  disk.created_at.set(record.created_at);
  disk.plan_pages.set(header.plan_pages);
  disk.fingerprint.set(header.fingerprint);
  disk.pool_time.set(record.pool_time);
  disk.pool_transaction_id.set(record.pool_transaction_id);
  disk.undo_log_bytes.set(header.undo_log_bytes.value());
  return disk;
}

JournalHeader from_disk(const DiskJournalHeader& disk) {
  JournalHeader header;
  header.sequence = disk.sequence.get();
  header.nonce = disk.nonce.get();
  header.state = JournalState{disk.state.get()};
  header.plan_pages = disk.plan_pages.get();
  header.fingerprint = disk.fingerprint.get();
  header.undo_log_bytes = Bytes(disk.undo_log_bytes.get());
  MergeRecord& record = header.record;
  record.thin_id = ThinId{disk.thin_id.get()};
  record.creation_time = disk.creation_time.get();
  record.transaction_id = disk.transaction_id.get();
  record.root_choice = RootChoice{disk.root_choice.get()};
  record.beyond_origin = BeyondOriginChoice{disk.beyond_origin.get()};
  record.root_block = MetadataBlock(disk.root_block.get());
  record.mapping_root = MetadataBlock(disk.mapping_root.get());
  record.block_size = DataBlockSize(Bytes(disk.block_size.get()));
  record.logical_block_size = Bytes(disk.logical_block_size.get());
  if (disk.thin_size_known.get()) record.thin_size = Bytes(disk.thin_size.get());
  record.origin_size_before = Bytes(disk.origin_size_before.get());
  record.origin_size_after = Bytes(disk.origin_size_after.get());
  record.plan_end = Bytes(disk.plan_end.get());
  record.mapped_blocks = disk.mapped_blocks.get();
  record.runs = disk.runs.get();
  record.copy_bytes = Bytes(disk.copy_bytes.get());
  std::memcpy(record.digest.bytes.data(), disk.digest, sizeof disk.digest);
  record.created_at = disk.created_at.get();
  record.pool_time = disk.pool_time.get();
  record.pool_transaction_id = disk.pool_transaction_id.get();
  return header;
}

template <typename Enum>
bool is_between(Enum value, Enum first, Enum last) {
  return value >= first && value <= last;
}

std::optional<std::string> find_implausible_choice(const MergeRecord& record) {
  if (value(record.thin_id) > kMaxThinId) return "the thin id has more than 24 bits";
  if (!is_between(record.root_choice, RootChoice::kHeld, RootChoice::kLive))
    return "the choice of the metadata's root is unknown";
  if (!is_between(record.beyond_origin, BeyondOriginChoice::kRefuse, BeyondOriginChoice::kExtend))
    return "the choice for blocks past the origin's end is unknown";
  if (record.root_block.value() >= kMaxMetadataBlocks ||
      record.mapping_root.value() >= kMaxMetadataBlocks)
    return "a root lies past the largest metadata device";
  return {};
}

std::optional<std::string> find_implausible_size(const MergeRecord& record) {
  const uint64_t block = record.block_size.bytes().value();
  if (block == 0 || block % kBlockSizeUnit != 0 || block > kLargestBlockSize)
    return "the block size is not a multiple of 64 KiB up to 1 GiB";
  const uint64_t sector = record.logical_block_size.value();
  if (!std::has_single_bit(sector) || sector > kBlockSizeUnit)
    return "the origin's logical block size is not a power of two up to 64 KiB";
  const Bytes largest(kLargestSize);
  if (record.origin_size_after >= largest || record.thin_size.value_or(Bytes(0)) >= largest)
    return "a device is larger than 8 EiB";
  if (record.origin_size_before > record.origin_size_after) return "the origin has shrunk";
  if (record.origin_size_before != record.origin_size_after &&
      record.beyond_origin != BeyondOriginChoice::kExtend)
    return "the origin has grown without --beyond-origin=extend";
  if (record.plan_end > record.origin_size_after) return "the plan ends past the origin's end";
  if (record.thin_size && record.plan_end > *record.thin_size)
    return "the plan ends past the thin device's end";
  return {};
}

std::optional<std::string> find_implausible_plan(const JournalHeader& header) {
  const MergeRecord& record = header.record;
  if (record.copy_bytes > record.plan_end) return "more is to be copied than lies before the end";
  const uint64_t blocks = record.block_size.blocks_holding(record.copy_bytes);
  if (blocks > record.mapped_blocks) return "more blocks are to be copied than are mapped";
  if (record.runs > blocks) return "there are more runs than blocks";
  if ((record.runs == 0) != (blocks == 0)) return "there are runs without blocks or the reverse";
  if (header.state == JournalState::kIntent) {
    if (header.plan_pages != 0) return "an intent has no plan pages yet";
  } else if (header.plan_pages > record.runs || (header.plan_pages == 0) != (record.runs == 0)) {
    return "the number of plan pages does not go with the number of runs";
  }
  return {};
}

// Whether both are the same journal, perhaps in different states: all other bytes, including the
// nonce, must be equal.
bool describe_the_same(const JournalHeader& a, JournalHeader b) {
  b.sequence = a.sequence;
  b.state = a.state;
  b.fingerprint = a.fingerprint;
  b.undo_log_bytes = a.undo_log_bytes;
  return encode_header(a) == encode_header(b);
}

}  // namespace

Error damaged_journal(const std::string& path, const std::string& why) {
  return Error(MessageId::kDamagedJournal, "the journal " + path + " is damaged: " + why,
               "nothing in it was used; if nobody has written to the snapshot or the origin since, "
               "a merge with --restart starts over and loses only time");
}

std::optional<std::string> find_implausible(const JournalHeader& header) {
  if (!is_between(header.state, JournalState::kIntent, JournalState::kUndone))
    return "the state is unknown";
  if (header.state >= JournalState::kUndoing && header.record.undo_log.empty())
    return "it was undone without an undo log";
  if (header.state < JournalState::kDone && header.fingerprint != 0)
    return "there is a fingerprint of a merge that is not done";
  const bool may_have_log = header.state >= JournalState::kDone && !header.record.undo_log.empty();
  if (header.undo_log_bytes != Bytes(0) && !may_have_log)
    return "there is the length of an undo log that cannot be complete";
  if (auto why = find_implausible_choice(header.record)) return why;
  if (auto why = find_implausible_size(header.record)) return why;
  return find_implausible_plan(header);
}

std::vector<std::byte> encode_header(const JournalHeader& header) {
  std::vector<std::byte> copy(kHeaderSize);
  const DiskJournalHeader disk = to_disk(header);
  std::memcpy(copy.data(), &disk, sizeof disk);
  size_t at = sizeof disk;
  for (const NamedDevice& named : kDevices) {
    const JournalDevice& device = header.record.*named.device;
    append_string(copy, at, device.path, kMaxPath, "path of the " + std::string(named.name));
    append_string(copy, at, device.identity, kMaxIdentity,
                  "identity of the " + std::string(named.name));
  }
  append_string(copy, at, header.record.undo_log, kMaxUndoLogPath, "path of the undo log");
  seal_part(copy);
  return copy;
}

std::optional<JournalHeader> decode_header(std::span<const std::byte> copy,
                                           const std::string& path) {
  DiskJournalHeader disk;
  std::memcpy(&disk, copy.data(), sizeof disk);
  if (std::memcmp(disk.magic, kHeaderMagic, sizeof disk.magic) != 0 || !part_is_intact(copy))
    return {};
  if (disk.version.get() != kJournalFormatVersion)
    throw Error(MessageId::kJournalVersion,
                "the journal " + path + " has format version " +
                    std::to_string(disk.version.get()) + "; this program knows version " +
                    std::to_string(kJournalFormatVersion),
                "finish the merge with the version of extmerge that began it");
  JournalHeader header = from_disk(disk);
  size_t at = sizeof disk;
  for (const NamedDevice& named : kDevices) {
    JournalDevice& device = header.record.*named.device;
    if (!take_string(copy, at, kMaxPath, device.path) ||
        !take_string(copy, at, kMaxIdentity, device.identity))
      throw damaged_journal(path,
                            "the header's " + std::string(named.name) + " has no proper name");
  }
  if (!take_string(copy, at, kMaxUndoLogPath, header.record.undo_log))
    throw damaged_journal(path, "the header's undo log has no proper name");
  if (auto why = find_implausible(header))
    throw damaged_journal(path, "the header is implausible: " + *why);
  return header;
}

ChosenHeader choose_header(std::span<const std::byte> copies, const std::string& path) {
  const auto first = decode_header(copies.first(kHeaderSize), path);
  const auto second = decode_header(copies.subspan(kHeaderSize, kHeaderSize), path);
  if (!first && !second) throw damaged_journal(path, "neither copy of its header is intact");
  if (!second) return {*first, 0};
  if (!first) return {*second, 1};
  if (first->sequence == second->sequence || !describe_the_same(*first, *second))
    throw damaged_journal(path, "the copies of its header contradict each other");
  const bool second_is_newer = second->sequence > first->sequence;
  const JournalHeader& newer = second_is_newer ? *second : *first;
  const JournalHeader& older = second_is_newer ? *first : *second;
  if (newer.state < older.state) throw damaged_journal(path, "its state has gone backwards");
  return {newer, second_is_newer ? 1u : 0u};
}

}  // namespace extmerge
