// SPDX-License-Identifier: GPL-3.0-or-later
//
// Fuzzes undo logs: any file is refused with status 6, or ends before the first record that is not
// the next one. A returned record holds the bytes of its ranges.
//
// Input: two bytes, then the records; the header before them is valid. If the first byte is odd,
// each record's magic, nonce, sequence and checksums are corrected. The second byte sets the
// durable size.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "merge/journal/format.h"
#include "merge/undo/log.h"
#include "merge/undo/log_format.h"
#include "tests/support/simulated_world.h"

namespace extmerge {
namespace {

constexpr uint64_t kNonce = 42;
using Contents = std::vector<std::byte>;

[[noreturn]] void complain(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

uint32_t checksum_at_end(std::span<const std::byte> part) {
  le32 checksum;
  std::memcpy(&checksum, part.data() + part.size() - kChecksumSize, kChecksumSize);
  return checksum.get();
}

void make_right(Contents& log) {
  uint32_t previous = checksum_at_end(std::span(log).first(kUndoHeaderSize));
  uint64_t sequence = 0;
  for (size_t at = kUndoHeaderSize; log.size() - at >= sizeof(DiskUndoRecord);) {
    DiskUndoRecord record;
    std::memcpy(&record, log.data() + at, sizeof record);
    std::memcpy(record.magic, kSavedMagic, sizeof record.magic);
    record.nonce.set(kNonce);
    record.sequence.set(sequence++);
    record.previous.set(previous);
    const size_t head =
        sizeof record + record.ranges.get() % 64 * sizeof(DiskSavedRange) + kChecksumSize;
    record.ranges.set(record.ranges.get() % 64);
    if (head > log.size() - at) return;
    const size_t saved = std::min<size_t>(record.saved_bytes.get(), log.size() - at - head);
    record.saved_checksum.set(~crc32c(std::span(log).subspan(at + head, saved)));
    std::memcpy(log.data() + at, &record, sizeof record);
    seal_part(std::span(log).subspan(at, head));
    previous = checksum_at_end(std::span(log).subspan(at, head));
    at += head + saved;
  }
}

void read_all(DurableFile& file, Bytes durable) {
  UndoLogReader reader(file, "log", kNonce, durable);
  for (UndoRecord record; reader.next(record, UndoLogReader::What::kAll);) {
    uint64_t saved = 0, all = 0;
    for (const SavedRange& range : record.ranges) {
      all += range.length.value();
      if (!range.is_zero) saved += range.length.value();
    }
    if (saved != record.bytes.size()) complain("other bytes than the ranges say");
    if (all > kMostSavedBytes) complain("more than a record may hold");
    if (reader.offset() > file.size()) complain("a record past the end");
  }
}

}  // namespace
}  // namespace extmerge

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace extmerge;
  if (size < 2) return 0;
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  UndoLog::create(directory, "log", kNonce);
  Contents log = directory.file("log");
  log.resize(kUndoHeaderSize + size - 2);
  std::memcpy(log.data() + kUndoHeaderSize, data + 2, size - 2);
  if (data[0] % 2 == 1) make_right(log);
  directory.put_file("log", log);
  try {
    // The journal says that this much of the log is durable.
    const auto file = directory.open("log", false);
    read_all(*file, Bytes(log.size() * data[1] / 255));
    UndoLog::open(directory, "log", kNonce, Bytes(0), Bytes(0), {});
  } catch (const Error& error) {
    if (error.exit_status() != 6) complain(error.what());
  }
  return 0;
}
