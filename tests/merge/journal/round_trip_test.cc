// SPDX-License-Identifier: GPL-3.0-or-later
//
// Any header and any progress must come back from its bytes unchanged, member by member. Comparing
// the bytes of a second encoding is not enough: a member that is never written is equal in both.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <tuple>

#include "tests/merge/journal/journal_fixture.h"

namespace extmerge {
namespace {

// A number below `end`, of any magnitude.
uint64_t any_below(uint64_t end) {
  const auto bits = *rc::gen::inRange<unsigned>(0, 65);
  const uint64_t most = bits == 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1;
  // inRange() does not fit: it depends on a size that begins at 0.
  const uint64_t number = *rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<uint64_t>()) & most;
  return end == 0 ? number : number % end;
}
uint64_t any_number() { return any_below(0); }
uint64_t any_up_to(uint64_t most) { return any_below(most + 1); }

template <typename Enum>
Enum any_choice(uint32_t choices = 3) {
  return Enum{*rc::gen::inRange<uint32_t>(1, choices + 1)};  // all enumerations of the header
}

// Bytes of any value except zero, now and then of the largest length.
std::string any_text(size_t most) {
  const size_t length = *rc::gen::inRange(0, 4) == 0 ? most : any_up_to(std::min<size_t>(most, 60));
  const auto first = *rc::gen::inRange<unsigned>(0, 255);
  std::string text;
  for (size_t i = 0; i < length; ++i) text += static_cast<char>(1 + (first + i * 7) % 255);
  return text;
}

JournalDevice any_device() { return {any_text(kMaxPath), any_text(kMaxIdentity)}; }

PlanDigest any_digest() {
  PlanDigest digest;
  for (uint8_t& byte : digest.bytes) byte = *rc::gen::arbitrary<uint8_t>();
  return digest;
}

MergeRecord any_record() {
  MergeRecord record;
  record.metadata = any_device();
  record.data = any_device();
  record.origin = any_device();
  record.thin_id = ThinId{static_cast<uint32_t>(any_up_to(kMaxThinId))};
  record.creation_time = static_cast<uint32_t>(any_number());
  record.transaction_id = any_number();
  record.pool_time = static_cast<uint32_t>(any_number());
  record.pool_transaction_id = any_number();
  record.root_choice = any_choice<RootChoice>();
  record.root_block = MetadataBlock(any_below(kMaxMetadataBlocks));
  record.mapping_root = MetadataBlock(any_below(kMaxMetadataBlocks));
  record.block_size = DataBlockSize(Bytes((1 + any_below(16384)) * 65536));
  record.logical_block_size = Bytes(uint64_t{1} << any_up_to(16));
  record.beyond_origin = any_choice<BeyondOriginChoice>();
  record.origin_size_after = Bytes(any_below(uint64_t{1} << 63));
  record.origin_size_before = record.origin_size_after;
  if (record.beyond_origin == BeyondOriginChoice::kExtend)
    record.origin_size_before = Bytes(any_up_to(record.origin_size_after.value()));
  record.plan_end = Bytes(any_up_to(record.origin_size_after.value()));
  if (*rc::gen::arbitrary<bool>()) {
    record.thin_size = Bytes(any_below(uint64_t{1} << 63));
    record.plan_end = std::min(record.plan_end, *record.thin_size);
  }
  record.copy_bytes = Bytes(any_up_to(record.plan_end.value()));
  const uint64_t blocks = record.block_size.blocks_holding(record.copy_bytes);
  record.mapped_blocks = blocks + any_below(UINT64_MAX - blocks);
  record.runs = blocks == 0 ? 0 : 1 + any_below(blocks);
  record.digest = any_digest();
  record.created_at = any_number();
  record.undo_log = any_text(kMaxUndoLogPath);
  return record;
}

ThinIdentity any_thin() {
  return {ThinId{static_cast<uint32_t>(any_up_to(kMaxThinId))}, static_cast<uint32_t>(any_number()),
          any_number()};
}

Verified any_verified() { return Verified{static_cast<uint32_t>(any_below(3))}; }

// The parts of version 2 that version 1 lacks.
void add_round(MergeRecord& record) {
  if (*rc::gen::arbitrary<bool>()) record.frozen_from = any_thin();
  record.newest_time = static_cast<uint32_t>(any_number());
  record.state_digest = any_digest();
  if (*rc::gen::arbitrary<bool>()) return;
  record.base = {static_cast<uint32_t>(1 + any_below(kEndOfTimes - 1)), Bytes(any_number()),
                 any_verified(), any_number(), any_number()};
}

JournalHeader any_header() {
  JournalHeader header;
  header.version = *rc::gen::inRange<uint32_t>(1, 4);
  header.record = any_record();
  if (header.version == kCopyFormatVersion) {
    MergeRecord& record = header.record;
    for (JournalDevice* const device : {&record.metadata, &record.data, &record.origin})
      device->path = any_text(kMaxPathOfCopy);
    record.copy = {*rc::gen::arbitrary<bool>(),
                   {any_text(kMaxPathOfCopy), any_text(kMaxIdentity)},
                   Bytes(any_number()),
                   any_number()};
    // Not all that is copied is mapped.
    if (record.runs > 0) record.mapped_blocks = any_number();
  }
  if (header.version == 1) header.record.undo_log = any_text(kMaxUndoLogPathRead);
  header.sequence = any_number();
  header.nonce = any_number();
  header.state = any_choice<JournalState>(5);
  // Nothing is undone without a log.
  if (header.record.undo_log.empty()) header.state = std::min(header.state, JournalState::kDone);
  const uint64_t runs = header.record.runs;
  if (header.state != JournalState::kIntent && runs > 0) header.plan_pages = 1 + any_below(runs);
  if (header.state >= JournalState::kDone) header.fingerprint = any_number();
  if (header.state >= JournalState::kDone && !header.record.undo_log.empty())
    header.undo_log_bytes = Bytes(any_number());
  if (header.version == 1) {
    header.record.state_digest = header.record.digest;
    header.record.newest_time = kEndOfTimes;
    return header;
  }
  add_round(header.record);
  if (header.state >= JournalState::kDone) header.verified = any_verified();
  return header;
}

// All members: with a new one this does not compile until it is added here.
auto members_of(const JournalDevice& device) {
  const auto& [path, identity] = device;
  return std::tuple(path, identity);
}
auto members_of(const CopyFacts& copy) {
  const auto& [whole, origin, origin_size, origin_state] = copy;
  return std::tuple(whole, members_of(origin), origin_size, origin_state);
}
auto members_of(const MergeRecord& record) {
  const auto& [metadata, data, origin, copy, thin_id, creation_time, transaction_id, pool_time,
               pool_transaction_id, root_choice, root_block, mapping_root, block_size,
               logical_block_size, thin_size, beyond_origin, origin_size_before, origin_size_after,
               plan_end, mapped_blocks, runs, copy_bytes, digest, created_at, undo_log, frozen_from,
               newest_time, state_digest, base, old_places] = record;
  const auto copied = copy ? std::optional(members_of(*copy)) : std::nullopt;
  return std::tuple(members_of(metadata), members_of(data), members_of(origin), copied, thin_id,
                    creation_time, transaction_id, pool_time, pool_transaction_id, root_choice,
                    root_block, mapping_root, block_size.bytes(), logical_block_size, thin_size,
                    beyond_origin, origin_size_before, origin_size_after, plan_end, mapped_blocks,
                    runs, copy_bytes, digest, created_at, undo_log, frozen_from, newest_time,
                    state_digest, base, old_places);
}
auto members_of(const JournalHeader& header) {
  const auto& [version, sequence, nonce, state, plan_pages, fingerprint, undo_log_bytes, verified,
               record] = header;
  return std::tuple(version, sequence, nonce, state, plan_pages, fingerprint, undo_log_bytes,
                    verified, members_of(record));
}
auto members_of(const SequencedProgress& progress) {
  const auto& [sequence, recorded] = progress;
  const auto& [position, counters, undo_log_bytes, undone_bytes] = recorded;
  const auto& [read, compared_equal, written] = counters;
  return std::tuple(sequence, position, read, compared_equal, written, undo_log_bytes,
                    undone_bytes);
}

SequencedProgress any_progress() {
  return {any_number(),
          {Bytes(any_number()),
           {Bytes(any_number()), Bytes(any_number()), Bytes(any_number())},
           Bytes(any_number()),
           Bytes(any_number())}};
}

TEST(JournalRoundTrip, AnyHeaderComesBackUnchanged) {
  EXPECT_TRUE(rc::check([] {
    const JournalHeader header = any_header();
    RC_ASSERT(find_implausible(header).value_or("") == "");
    const auto copy = encode_header(header);
    RC_ASSERT(copy.size() == kHeaderSize);
    const auto read = decode_header(copy, kTestName);
    RC_ASSERT(read.has_value());
    const bool same = members_of(*read) == members_of(header);  // too long to print
    RC_ASSERT(same);
  }));
}

TEST(JournalRoundTrip, AnyProgressComesBackUnchangedFromItsOwnSlotOnly) {
  EXPECT_TRUE(rc::check([] {
    const SequencedProgress progress = any_progress();
    const uint64_t nonce = any_number();
    const ProgressSlot sector = encode_slot(nonce, progress);
    const uint64_t other_nonce = nonce ^ (uint64_t{1} << any_below(64));
    for (size_t slot = 0; slot < kSlots; ++slot) {
      RC_ASSERT(!decode_slot(sector, other_nonce, slot).has_value());
      const auto read = decode_slot(sector, nonce, slot);
      RC_ASSERT(read.has_value() == (slot == slot_of(progress.sequence)));
      if (read) RC_ASSERT(members_of(*read) == members_of(progress));
    }
  }));
}

TEST(JournalRoundTrip, OfAnySlotsTheNewestIsFoundAndTheHighestClaim) {
  EXPECT_TRUE(rc::check([] {
    const uint64_t nonce = any_number();
    FileBytes area(kSlots * kSlotDistance);
    std::optional<FoundProgress> expected;
    for (size_t slot = 0; slot < kSlots; ++slot) {
      if (*rc::gen::inRange(0, 3) == 0) continue;  // torn
      SequencedProgress progress = any_progress();
      progress.sequence = progress.sequence / kSlots * kSlots + slot;
      std::ranges::copy(encode_slot(nonce, progress),
                        area.begin() + static_cast<ptrdiff_t>(slot * kSlotDistance));
      if (!expected || progress.sequence > expected->newest.sequence)
        expected = {progress, expected ? expected->highest : Bytes(0)};
      expected->highest = std::max(expected->highest, progress.progress.position);
    }
    const auto found = find_progress(area, nonce, Bytes(UINT64_MAX), kTestName);
    RC_ASSERT(found.has_value() == expected.has_value());
    if (!found) return;
    RC_ASSERT(members_of(found->newest) == members_of(expected->newest));
    RC_ASSERT(found->highest == expected->highest);
    if (found->highest == Bytes(0)) return;
    const Bytes less = found->highest - Bytes(1);
    RC_ASSERT(refusal([&] { find_progress(area, nonce, less, kTestName); }) ==
              MessageId::kDamagedJournal);
  }));
}

}  // namespace
}  // namespace extmerge
