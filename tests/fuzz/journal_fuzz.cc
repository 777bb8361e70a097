// SPDX-License-Identifier: GPL-3.0-or-later
//
// Fuzzes journals: any file is refused with status 6, or all its claims are within its own plan.
//
// Input: a byte, a header, all progress slots, plan pages; without the zeroes between them. If the
// byte is odd, the checksums are corrected, and the nonces become those of the header.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "merge/journal/format.h"
#include "merge/journal/journal.h"
#include "merge/plan/runs.h"
#include "tests/support/simulated_world.h"

namespace extmerge {
namespace {

constexpr size_t kHeaderUsed = 600;  // fields and seven short strings
constexpr size_t kMaxPages = 4;

[[noreturn]] void complain(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const std::byte*>(data), size) {}
  // Takes the next bytes of the input, as many as it has.
  void fill(std::span<std::byte> part) {
    const size_t length = std::min(part.size(), rest_.size());
    std::memcpy(part.data(), rest_.data(), length);
    rest_ = rest_.subspan(length);
  }
  size_t size() const { return rest_.size(); }

 private:
  std::span<const std::byte> rest_;
};

std::vector<std::byte> journal_from(Input input) {
  std::byte flag{};
  input.fill({&flag, 1});
  const bool sealed = std::to_integer<int>(flag) % 2 == 1;
  std::vector<std::byte> file(kPlanOffset);
  const std::span<std::byte> header(file.data(), kHeaderSize);
  input.fill(header.first(kHeaderUsed));
  le64 nonce;
  std::memcpy(&nonce, header.data() + offsetof(DiskJournalHeader, nonce), sizeof nonce);
  if (sealed) seal_part(header);
  std::memcpy(file.data() + kHeaderSize, header.data(), kHeaderSize);

  for (size_t i = 0; i < kSlots; ++i) {
    const std::span<std::byte> slot(file.data() + kSlotsOffset + i * kSlotDistance, kSlotSize);
    input.fill(slot.first(sizeof(DiskProgressSlot)));
    if (!sealed) continue;
    std::memcpy(slot.data() + offsetof(DiskProgressSlot, nonce), &nonce, sizeof nonce);
    seal_part(slot);
  }
  for (size_t i = 0; i < kMaxPages && input.size() > 0; ++i) {
    file.resize(file.size() + kPlanPageSize);
    const std::span<std::byte> page(file.data() + file.size() - kPlanPageSize, kPlanPageSize);
    input.fill(page);
    if (!sealed) continue;
    std::memcpy(page.data() + offsetof(DiskPlanPage, nonce), &nonce, sizeof nonce);
    seal_part(page);
  }
  return file;
}

void read_all(Journal& journal) {
  const MergeRecord& record = journal.record();
  if (journal.progress().position > record.copy_bytes) complain("more progress than plan");
  Bytes skip;
  const auto runs = journal.runs_from(Bytes(0), skip);
  ExtentSource extents(*runs, record.limits());
  Bytes planned, end;
  while (const auto extent = extents.next(Bytes(INT64_MAX))) {
    if (extent->origin_offset < end) complain("extents that do not rise");
    end = extent->origin_offset + extent->length;
    if (end > record.plan_end) complain("an extent past the plan's end");
    planned += extent->length;
  }
  if (planned != record.copy_bytes) complain("extents that are not the plan's bytes");
}

}  // namespace
}  // namespace extmerge

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace extmerge;
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  directory.put_file("journal", journal_from(Input(data, size)));
  try {
    const auto journal = Journal::open(directory, "journal", false);
    if (journal) read_all(*journal);
  } catch (const Error& error) {
    if (error.exit_status() != 6) complain(error.what());
  }
  return 0;
}
