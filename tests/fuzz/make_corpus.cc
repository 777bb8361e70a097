// SPDX-License-Identifier: GPL-3.0-or-later
//
// Writes the first inputs for fuzzing: make_corpus FOLDER. It made the files in corpus/; make them
// again when a format changes.

#include <fstream>
#include <iterator>

#include "merge/journal/format.h"
#include "merge/undo/log.h"
#include "merge/undo/log_format.h"
#include "tests/merge/journal/journal_fixture.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {
namespace {

using Input = std::vector<std::byte>;

void write(const std::string& path, const Input& input) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(input.data()),
             static_cast<std::streamsize>(input.size()));
}

void append(Input& input, std::span<const std::byte> part) {
  input.insert(input.end(), part.begin(), part.end());
}

// An even flag keeps checksums, an odd one corrects them.
Input begin_with(int flag) { return {std::byte(flag)}; }

void metadata(const std::string& folder) {
  for (const bool hold : {true, false}) {
    MetadataBuilder pool(12);
    const TreeShape small{.leaf_fill = 2, .inner_fill = 2};
    pool.add_device(1, pool.add_tree({{0, 10}, {1, 11}, {5, 3}, {9, 0}}, small));
    pool.add_device(7, pool.add_tree({{2, 4}}));
    pool.finish(hold);
    for (const int flag : {0, 1}) {
      Input input = begin_with(flag);
      append(input, pool.image());
      write(folder + "/metadata/" + (hold ? "held-" : "live-") + std::to_string(flag), input);
    }
  }
}

void journal(const std::string& folder) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  const Runs runs = {{ThinBlock(0), DataBlock(10), 2}, {ThinBlock(5), DataBlock(3), 1}};
  const auto journal = publish_journal(directory, runs);
  const auto as_input = [&](const std::string& name) {
    const FileBytes file = directory.file(kTestName);
    const std::span<const std::byte> bytes(file);
    for (const int flag : {0, 1}) {
      Input input = begin_with(flag);
      append(input, bytes.first(600));
      for (size_t i = 0; i < kSlots; ++i)
        append(input, bytes.subspan(kSlotsOffset + i * kSlotDistance, sizeof(DiskProgressSlot)));
      append(input, bytes.subspan(kPlanOffset));
      write(folder + "/journal/" + name + std::to_string(flag), input);
    }
  };
  as_input("published-");
  journal->record_progress({Bytes(kTestBlock), {}});
  as_input("copying-");
  journal->record_progress({journal->record().copy_bytes, {}});
  journal->record_done(42);
  as_input("done-");
}

void undo_log(const std::string& folder) {
  SimulatedWorld world;
  SimulatedDirectory directory(world);
  const auto log = UndoLog::create(directory, "log", 42);
  const std::vector<std::byte> old_bytes(512, std::byte{1}), zeros(512), new_bytes(512);
  const Overwrite overwrites[] = {{Bytes(0), old_bytes, new_bytes},
                                  {Bytes(4096), zeros, old_bytes}};
  log->save(Bytes(65536), overwrites);
  log->save(Bytes(131072), overwrites);
  const std::vector<std::byte> file = directory.file("log");
  for (const int flag : {0, 1}) {
    Input input = begin_with(flag);
    input.push_back(std::byte{0});
    append(input, std::span(file).subspan(kUndoHeaderSize));
    write(folder + "/undo_log/saved-" + std::to_string(flag), input);
  }
}

}  // namespace
}  // namespace extmerge

int main(int argc, char** argv) {
  if (argc != 2) return 1;
  extmerge::metadata(argv[1]);
  extmerge::journal(argv[1]);
  extmerge::undo_log(argv[1]);
  return 0;
}
