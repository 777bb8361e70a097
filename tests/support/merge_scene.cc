// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/support/merge_scene.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include "tests/support/metadata_builder.h"

namespace extmerge {

namespace {

using Contents = MergeScene::Contents;

constexpr size_t kLabelSize = 16;

// Random sectors, each beginning with a label like "data 00000012ab:" that
// tells where it came from.
Contents labelled(const char* label, uint64_t size, SimulatedRandom& random) {
  Contents contents(size);
  for (uint64_t at = 0; at < size; at += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(&contents[at], &word, std::min<uint64_t>(sizeof word, size - at));
  }
  for (uint64_t at = 0; at + kLabelSize <= size; at += kSectorSize) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4s %010llx:", label,
                  static_cast<unsigned long long>(at / kSectorSize));
    std::memcpy(&contents[at], text, kLabelSize);
  }
  return contents;
}

std::string label_at(const Contents& contents, uint64_t at) {
  const uint64_t sector = at / kSectorSize * kSectorSize;
  if (sector + kLabelSize > contents.size()) return "the end";
  std::string text;
  for (size_t i = 0; i < kLabelSize; ++i) {
    const char c = static_cast<char>(contents[sector + i]);
    text += c >= ' ' && c <= '~' ? c : '.';
  }
  return "\"" + text + "\"";
}

Contents build_metadata(const SceneShape& shape) {
  std::vector<BuiltMapping> mappings;
  for (const auto& [thin, data] : shape.mappings) mappings.push_back({thin, data, 0});
  std::sort(mappings.begin(), mappings.end(),
            [](const BuiltMapping& a, const BuiltMapping& b) { return a.thin < b.thin; });
  MetadataBuilder builder(64 + 2 * mappings.size(),
                          static_cast<uint32_t>(shape.block_size / kSectorSize));
  TreeShape tree_shape;
  tree_shape.leaf_fill = shape.leaf_fill;
  builder.add_device(value(MergeScene::kThinId), builder.add_tree(mappings, tree_shape));
  builder.finish();
  return builder.image();
}

DeviceFacts image_facts(const SimulatedDisk& disk, uint64_t inode) {
  DeviceFacts facts;
  facts.path = disk.name();
  facts.exists = true;
  facts.is_regular = true;
  facts.file_system = 1;
  facts.inode = inode;
  facts.size = disk.size();
  facts.logical_block_size = disk.logical_block_size();
  facts.identity = "simulated:" + disk.name();
  facts.underlying_files = {{facts.file_system, inode}};
  return facts;
}

}  // namespace

MergeScene::MergeScene(SimulatedWorld& world, SceneShape shape) : shape_(std::move(shape)) {
  SimulatedRandom random(shape_.seed);
  first_metadata_ = build_metadata(shape_);
  first_origin_ = labelled("orig", shape_.origin_size, random);
  uint64_t data_blocks = 1;
  for (const auto& [thin, data] : shape_.mappings) data_blocks = std::max(data_blocks, data + 1);
  first_data_ = labelled("data", data_blocks * shape_.block_size, random);

  for (const auto& [thin, data] : shape_.mappings)
    for (uint64_t in_block = 0; in_block < shape_.block_size; in_block += 4096) {
      const uint64_t at = thin * shape_.block_size + in_block;
      if (random_below(random, 100) >= shape_.percent_equal || at >= shape_.origin_size) continue;
      const uint64_t length = std::min<uint64_t>(4096, shape_.origin_size - at);
      std::memcpy(&first_data_[data * shape_.block_size + in_block], &first_origin_[at], length);
    }

  const Bytes unit(shape_.logical_block_size);
  metadata_ = std::make_shared<SimulatedDisk>(world, "/images/metadata", first_metadata_, unit);
  data_ = std::make_shared<SimulatedDisk>(world, "/images/data", first_data_, unit);
  origin_ = std::make_shared<SimulatedDisk>(world, "/images/origin", first_origin_, unit);
  first_view_ = snapshot_view();
  std::map<uint64_t, uint64_t> mapped(shape_.mappings.begin(), shape_.mappings.end());
  uint64_t at = 0;
  for (const auto& [thin, data] : mapped) {
    unmapped_.push_back({at, thin * shape_.block_size});
    at = (thin + 1) * shape_.block_size;
  }
  unmapped_.push_back({at, UINT64_MAX});
}

Job image_job(const std::shared_ptr<SimulatedDisk>& metadata,
              const std::shared_ptr<SimulatedDisk>& data,
              const std::shared_ptr<SimulatedDisk>& origin,
              std::shared_ptr<DurableDirectory> directory, const std::string& journal,
              SceneCustody& custody) {
  Job job;
  job.metadata = image_facts(*metadata, 1);
  job.data = image_facts(*data, 2);
  job.origin = image_facts(*origin, 3);
  job.metadata_path = metadata->name();
  job.data_path = data->name();
  job.origin_path = origin->name();
  job.journal.path = directory->path() + "/" + journal;
  job.journal.name = journal;
  job.custody = &custody;
  custody.on_undo_log_at = [directory](const std::string& path) {
    JournalPlace place;
    place.directory = directory;
    place.path = path;
    place.name = path.substr(path.rfind('/') + 1);
    return place;
  };
  job.journal.directory = std::move(directory);
  custody.on_open = [metadata, data, origin](const DeviceFacts& facts, OpenMode mode,
                                             Bytes) -> std::shared_ptr<BlockDevice> {
    if (facts.path == origin->name()) return origin;
    if (mode != OpenMode::kReadOnly)
      throw Error(MessageId::kInternal, facts.path + " was opened for writing",
                  "a merge only reads the pool");
    if (facts.path == data->name()) return data;
    return metadata;
  };
  return job;
}

Job MergeScene::job(std::shared_ptr<DurableDirectory> directory, const std::string& journal) const {
  SceneCustody& custody = *custodies_.emplace_back(std::make_unique<SceneCustody>());
  Job job = image_job(metadata_, data_, origin_, std::move(directory), journal, custody);
  job.thin_id = kThinId;
  if (shape_.thin_size) job.thin_size = Bytes(*shape_.thin_size);
  return job;
}

uint64_t MergeScene::thin_end() const {
  if (shape_.thin_size) return *shape_.thin_size;
  uint64_t end = shape_.origin_size;
  for (const auto& [thin, data] : shape_.mappings)
    end = std::max(end, (thin + 1) * shape_.block_size);
  return end;
}

void MergeScene::lay_over(Contents& image, const Contents& data) const {
  const uint64_t end = std::min<uint64_t>(thin_end(), image.size());
  for (const auto& [thin, block] : shape_.mappings) {
    const uint64_t start = std::min(end, thin * shape_.block_size);
    const uint64_t stop = std::min(end, (thin + 1) * shape_.block_size);
    std::copy_n(data.begin() + static_cast<ptrdiff_t>(block * shape_.block_size), stop - start,
                image.begin() + static_cast<ptrdiff_t>(start));
  }
}

Contents MergeScene::expected_origin(std::optional<uint64_t> size) const {
  Contents expected = first_origin_;
  if (size) expected.resize(*size);
  lay_over(expected, first_data_);
  return expected;
}

Contents MergeScene::snapshot_view() const {
  Contents view = origin_->contents();
  view.resize(thin_end());
  lay_over(view, data_->contents());
  return view;
}

std::string MergeScene::view_damage() const {
  bool is_equal = true;
  const auto compare = [&](std::span<const std::byte> now, uint64_t at, uint64_t begin,
                           uint64_t end) {
    end = std::min<uint64_t>(end, first_view_.size());
    begin = std::min(begin, end);
    const auto seen = std::span(first_view_).subspan(begin, end - begin);
    // Past the origin's end a thin reads zeros.
    const size_t there = now.size() < at ? 0 : std::min<size_t>(seen.size(), now.size() - at);
    is_equal = is_equal && (there == 0 || std::memcmp(&now[at], seen.data(), there) == 0) &&
               std::all_of(seen.begin() + static_cast<ptrdiff_t>(there), seen.end(),
                           [](std::byte b) { return b == std::byte{0}; });
  };
  data_->look([&](std::span<const std::byte> data) {
    for (const auto& [thin, block] : shape_.mappings)
      compare(data, block * shape_.block_size, thin * shape_.block_size,
              (thin + 1) * shape_.block_size);
  });
  origin_->look([&](std::span<const std::byte> origin) {
    for (const auto& [begin, end] : unmapped_) compare(origin, begin, begin, end);
  });
  return is_equal ? "" : first_difference(snapshot_view(), first_view_);
}

std::string MergeScene::damage() const {
  bool is_equal = true;
  const auto compare = [&](const SimulatedDisk& disk, const Contents& first) {
    disk.look([&](std::span<const std::byte> now) {
      is_equal = is_equal && now.size() == first.size() &&
                 std::memcmp(now.data(), first.data(), now.size()) == 0;
    });
  };
  compare(*metadata_, first_metadata_);
  compare(*data_, first_data_);
  origin_->look([&](std::span<const std::byte> now) {
    for (auto [begin, end] : unmapped_) {
      end = std::min({end, uint64_t{now.size()}, uint64_t{first_origin_.size()}});
      is_equal = is_equal && (begin >= end ||
                              std::memcmp(&now[begin], &first_origin_[begin], end - begin) == 0);
    }
    is_equal = is_equal && now.size() == first_origin_.size();
  });
  if (is_equal) return {};
  const Contents origin = origin_->contents();
  Contents expected = first_origin_;
  // Bytes under a mapped block may be anything.
  if (origin.size() > expected.size()) expected.resize(origin.size());
  const uint64_t end = std::min<uint64_t>(thin_end(), origin.size());
  for (const auto& [thin, data] : shape_.mappings) {
    const uint64_t start = std::min(end, thin * shape_.block_size);
    const uint64_t stop = std::min(end, (thin + 1) * shape_.block_size);
    std::copy(origin.begin() + static_cast<ptrdiff_t>(start),
              origin.begin() + static_cast<ptrdiff_t>(stop),
              expected.begin() + static_cast<ptrdiff_t>(start));
  }
  std::string complaint;
  const auto complain = [&](const char* disk, const std::string& difference) {
    if (!difference.empty()) complaint += std::string(disk) + ": " + difference + "\n";
  };
  complain("metadata", first_difference(metadata_->contents(), first_metadata_));
  complain("data", first_difference(data_->contents(), first_data_));
  complain("origin outside mapped blocks", first_difference(origin, expected));
  return complaint;
}

std::string first_difference(const Contents& now, const Contents& expected) {
  // Nearly always equal: compare the fast way first.
  if (now.size() == expected.size() && std::memcmp(now.data(), expected.data(), now.size()) == 0)
    return {};
  const auto [a, b] = std::mismatch(now.begin(), now.end(), expected.begin(), expected.end());
  const auto at = static_cast<uint64_t>(a - now.begin());
  return "at byte " + std::to_string(at) + " of " + std::to_string(now.size()) + " (expected " +
         std::to_string(expected.size()) + ") is " + label_at(now, at) + ", expected " +
         label_at(expected, at);
}

}  // namespace extmerge
