// SPDX-License-Identifier: GPL-3.0-or-later
//
// A header counts if it is intact, if all its values are plausible, and if the other copy does not
// contradict it.

#include "merge/journal/header.h"

#include <bit>
#include <type_traits>

#include "persistent-data/disk_format.h"
#include "persistent-data/mapping_walk.h"

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
  if (end - at < sizeof(le16)) return false;
  const size_t length = load<le16>(copy.data() + at).get();
  at += sizeof(le16);
  if (length > most || length > end - at) return false;
  text.assign(reinterpret_cast<const char*>(copy.data()) + at, length);
  at += length;
  return text.find('\0') == std::string::npos;
}

struct NamedDevice {
  const char* name;
  JournalDevice MergeRecord::*device;
};
constexpr NamedDevice kDevices[] = {{"metadata device", &MergeRecord::metadata},
                                    {"data device", &MergeRecord::data},
                                    {"origin", &MergeRecord::origin}};

// Calls `each` with every plain number of a header: its place on disk, and in memory.
template <typename Disk, typename Header, typename Each>
void for_each_number(Disk& disk, Header& header, const Each& each) {
  auto& record = header.record;
  each(disk.state, header.state);
  each(disk.sequence, header.sequence);
  each(disk.nonce, header.nonce);
  each(disk.thin_id, record.thin_id);
  each(disk.creation_time, record.creation_time);
  each(disk.transaction_id, record.transaction_id);
  each(disk.root_choice, record.root_choice);
  each(disk.beyond_origin, record.beyond_origin);
  each(disk.root_block, record.root_block);
  each(disk.mapping_root, record.mapping_root);
  each(disk.logical_block_size, record.logical_block_size);
  each(disk.origin_size_before, record.origin_size_before);
  each(disk.origin_size_after, record.origin_size_after);
  each(disk.plan_end, record.plan_end);
  each(disk.mapped_blocks, record.mapped_blocks);
  each(disk.runs, record.runs);
  each(disk.copy_bytes, record.copy_bytes);
  each(disk.created_at, record.created_at);
  each(disk.plan_pages, header.plan_pages);
  each(disk.fingerprint, header.fingerprint);
  each(disk.pool_time, record.pool_time);
  each(disk.pool_transaction_id, record.pool_transaction_id);
  each(disk.undo_log_bytes, header.undo_log_bytes);
}

DiskJournalHeader to_disk(const JournalHeader& header) {
  const MergeRecord& record = header.record;
  DiskJournalHeader disk{};
  std::memcpy(disk.magic, kHeaderMagic, sizeof disk.magic);
  disk.version.set(header.version);
  for_each_number(disk, header, [](auto& place, const auto& number) {
    if constexpr (requires { number.value(); }) {
      place.set(number.value());
    } else {
      static_assert(sizeof number == sizeof place.get());
      place.set(static_cast<decltype(place.get())>(number));
    }
  });
  disk.block_size.set(record.block_size.bytes().value());
  disk.thin_size.set(record.thin_size.value_or(Bytes(0)).value());
  disk.thin_size_known.set(record.thin_size.has_value());
  std::memcpy(disk.digest, record.digest.bytes.data(), sizeof disk.digest);
  return disk;
}

JournalHeader from_disk(const DiskJournalHeader& disk) {
  JournalHeader header;
  header.version = disk.version.get();
  for_each_number(disk, header, [](const auto& place, auto& number) {
    static_assert(sizeof number == sizeof place.get());
    number = std::remove_reference_t<decltype(number)>(place.get());
  });
  MergeRecord& record = header.record;
  record.block_size = DataBlockSize(Bytes(disk.block_size.get()));
  if (disk.thin_size_known.get()) record.thin_size = Bytes(disk.thin_size.get());
  std::memcpy(record.digest.bytes.data(), disk.digest, sizeof disk.digest);
  return header;
}

DiskRound round_to_disk(const JournalHeader& header) {
  const MergeRecord& record = header.record;
  DiskRound disk{};
  if (const auto& thin = record.frozen_from) {
    disk.frozen_from_known.set(1);
    disk.frozen_from_id.set(value(thin->id));
    disk.frozen_from_creation_time.set(thin->creation_time);
    disk.frozen_from_transaction_id.set(thin->transaction_id);
  }
  disk.newest_time.set(record.newest_time);
  disk.verified.set(static_cast<uint32_t>(header.verified));
  if (const auto& base = record.base) {
    disk.base_known.set(1);
    disk.base_time.set(base->time);
    disk.base_verified.set(static_cast<uint32_t>(base->verified));
    disk.base_end.set(base->end.value());
    disk.base_nonce.set(base->nonce);
    disk.base_created_at.set(base->created_at);
  }
  std::memcpy(disk.state_digest, record.state_digest.bytes.data(), sizeof disk.state_digest);
  return disk;
}

void round_from_disk(const DiskRound& disk, JournalHeader& header) {
  MergeRecord& record = header.record;
  if (disk.frozen_from_known.get()) {
    record.frozen_from = {static_cast<ThinId>(disk.frozen_from_id.get()),
                          disk.frozen_from_creation_time.get(),
                          disk.frozen_from_transaction_id.get()};
  }
  record.newest_time = disk.newest_time.get();
  header.verified = static_cast<Verified>(disk.verified.get());
  if (disk.base_known.get()) {
    record.base = {disk.base_time.get(), Bytes(disk.base_end.get()),
                   static_cast<Verified>(disk.base_verified.get()), disk.base_nonce.get(),
                   disk.base_created_at.get()};
  }
  std::memcpy(record.state_digest.bytes.data(), disk.state_digest, sizeof disk.state_digest);
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
  if (record.is_copy()) {
    // A copy may have blocks that are not mapped, and runs that are only recorded.
    if (record.runs > record.block_size.blocks_holding(record.plan_end))
      return "there are more runs than blocks";
    if (record.runs == 0 && blocks > 0) return "there are blocks without runs";
  } else {
    if (blocks > record.mapped_blocks) return "more blocks are to be copied than are mapped";
    if (record.runs > blocks) return "there are more runs than blocks";
    if ((record.runs == 0) != (blocks == 0)) return "there are runs without blocks or the reverse";
  }
  if (header.state == JournalState::kIntent) {
    if (header.plan_pages != 0) return "an intent has no plan pages yet";
  } else if (header.plan_pages > record.runs || (header.plan_pages == 0) != (record.runs == 0)) {
    return "the number of plan pages does not go with the number of runs";
  }
  return {};
}

std::optional<std::string> find_implausible_round(const JournalHeader& header) {
  const MergeRecord& record = header.record;
  if (header.verified > Verified::kEverything) return "the extent of its verification is unknown";
  if (header.state < JournalState::kDone && header.verified != Verified::kNothing)
    return "a merge that is not done counts as verified";
  if (record.frozen_from && value(record.frozen_from->id) > kMaxThinId)
    return "the id of the frozen thin has more than 24 bits";
  if (!record.base) return {};
  if (record.base->time == 0 || record.base->time >= kEndOfTimes)
    return "the pool's time of its base is out of range";
  if (record.base->verified > Verified::kEverything)
    return "the extent of its base's verification is unknown";
  return {};
}

// Whether both are the same journal, perhaps in different states: all other bytes, including the
// nonce, must be equal.
bool describe_the_same(const JournalHeader& a, JournalHeader b) {
  b.sequence = a.sequence;
  b.state = a.state;
  b.fingerprint = a.fingerprint;
  b.undo_log_bytes = a.undo_log_bytes;
  b.verified = a.verified;
  return encode_header(a) == encode_header(b);
}

}  // namespace

Error damaged_journal(const std::string& path, const std::string& why) {
  return Error(MessageId::kDamagedJournal, "the journal " + path + " is damaged: " + why,
               "nothing in it was used; if it is the journal of this merge or copy, and nobody has "
               "written to the snapshot, the origin or the target since, the same command with "
               "--restart starts over and loses only time; a journal for --since must be whole");
}

Error misuse(const std::string& happened) {
  return Error(MessageId::kInternal, happened, "please report this");
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
  if (auto why = find_implausible_round(header)) return why;
  return find_implausible_plan(header);
}

std::vector<std::byte> encode_header(const JournalHeader& header) {
  std::vector<std::byte> copy(kHeaderSize);
  const DiskJournalHeader disk = to_disk(header);
  std::memcpy(copy.data(), &disk, sizeof disk);
  size_t at = sizeof disk;
  if (header.version > 1) {
    const DiskRound round = round_to_disk(header);
    std::memcpy(copy.data() + at, &round, sizeof round);
    at += sizeof round;
  }
  const auto append_device = [&](const JournalDevice& device, const std::string& name,
                                 size_t most) {
    append_string(copy, at, device.path, most, "path of the " + name);
    append_string(copy, at, device.identity, kMaxIdentity, "identity of the " + name);
  };
  if (header.version == kCopyFormatVersion) {
    DiskCopy facts{};
    facts.whole.set(header.record.copy->whole);
    facts.origin_size.set(header.record.copy->origin_size.value());
    facts.origin_state.set(header.record.copy->origin_state);
    std::memcpy(copy.data() + at, &facts, sizeof facts);
    at += sizeof facts;
    append_device(header.record.copy->origin, "external origin", kMaxPathOfCopy);
  }
  for (const NamedDevice& named : kDevices) {
    append_device(header.record.*named.device, named.name,
                  header.version == kCopyFormatVersion ? kMaxPathOfCopy : kMaxPath);
  }
  append_string(copy, at, header.record.undo_log,
                header.version == 1 ? kMaxUndoLogPathRead : kMaxUndoLogPath,
                "path of the undo log");
  seal_part(copy);
  return copy;
}

std::optional<JournalHeader> decode_header(std::span<const std::byte> copy,
                                           const std::string& path) {
  const auto disk = load<DiskJournalHeader>(copy.data());
  if (std::memcmp(disk.magic, kHeaderMagic, sizeof disk.magic) != 0 || !part_is_intact(copy))
    return {};
  const uint32_t version = disk.version.get();
  if (version == 0 || version > kNewestFormatVersion)
    throw Error(MessageId::kJournalVersion,
                "the journal " + path + " has format version " + std::to_string(version) +
                    "; this program knows versions 1 to " + std::to_string(kNewestFormatVersion),
                "finish the merge with the version of extmerge that began it");
  JournalHeader header = from_disk(disk);
  size_t at = sizeof disk;
  if (version > 1) {
    round_from_disk(load<DiskRound>(copy.data() + at), header);
    at += sizeof(DiskRound);
  } else {
    header.record.state_digest = header.record.digest;
    header.record.newest_time = kEndOfTimes;  // unknown
  }
  const auto take_device = [&](JournalDevice& device, const std::string& name) {
    if (take_string(copy, at, kMaxPath, device.path) &&
        take_string(copy, at, kMaxIdentity, device.identity))
      return;
    throw damaged_journal(path, "the header's " + name + " has no proper name");
  };
  if (version == kCopyFormatVersion) {
    const auto facts = load<DiskCopy>(copy.data() + at);
    at += sizeof facts;
    if (facts.whole.get() > 1) throw damaged_journal(path, "the header's kind of copy is unknown");
    header.record.copy = {
        facts.whole.get() == 1, {}, Bytes(facts.origin_size.get()), facts.origin_state.get()};
    take_device(header.record.copy->origin, "external origin");
  }
  for (const NamedDevice& named : kDevices) take_device(header.record.*named.device, named.name);
  if (!take_string(copy, at, kMaxUndoLogPathRead, header.record.undo_log))
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
