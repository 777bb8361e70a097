// SPDX-License-Identifier: GPL-3.0-or-later

#include "tests/merge/copy/pipeline_fixture.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "io/endian.h"

namespace extmerge {

namespace {

constexpr const char* kFile = "positions";
constexpr uint64_t kUnit = 4096;

// A generator that is cheap also in a build without optimisation.
FileBytes noise(uint64_t size, std::mt19937_64& random) {
  FileBytes bytes(size);
  uint64_t word = random();
  for (uint64_t i = 0; i < size; i += 8) {
    word = word * 6364136223846793005 + 1442695040888963407;
    std::memcpy(bytes.data() + i, &word, std::min<uint64_t>(8, size - i));
  }
  return bytes;
}

}  // namespace

CopyShape scattered_shape(size_t runs, uint64_t seed, bool tail) {
  std::mt19937_64 random(seed);
  CopyShape shape;
  shape.seed = seed;
  std::vector<uint64_t> starts;
  uint64_t thin = random() % 2;
  uint64_t data = 0;
  for (size_t i = 0; i < runs; ++i) {
    const uint64_t blocks = random() % 3 == 0 ? 1 + random() % 4 : 1;
    shape.runs.push_back(make_run(thin, 0, blocks));
    starts.push_back(data);
    thin += blocks + random() % 3;
    data += blocks + random() % 2;
  }
  // The runs' places on the data disk, in another order.
  std::vector<size_t> order(runs);
  for (size_t i = 0; i < runs; ++i) order[i] = i;
  if (random() % 2) std::shuffle(order.begin(), order.end(), random);
  uint64_t place = 0;
  for (const size_t i : order) {
    shape.runs[i].data = DataBlock(place);
    place += shape.runs[i].blocks + random() % 2;
  }
  shape.data_blocks = place + 1;
  const Run& last = shape.runs.back();
  shape.origin_size = (last.thin.value() + last.blocks) * shape.block_size;
  if (tail) shape.origin_size -= 512 * (1 + random() % (shape.block_size / 512 - 1));
  return shape;
}

CopyScene::CopyScene(const CopyShape& shape)
    : shape_(shape),
      limits_{DataBlockSize(Bytes(shape.block_size)), Bytes(shape.origin_size), {}},
      first_data_([&] {
        std::mt19937_64 random(shape.seed);
        return noise(shape.data_blocks * shape.block_size, random);
      }()),
      first_origin_([&] {
        std::mt19937_64 random(shape.seed + 1);
        return noise(shape.origin_size, random);
      }()),
      data_(world_, "data", first_data_, Bytes(shape.data_logical_block)),
      origin_(world_, "origin", first_origin_, Bytes(shape.origin_logical_block)),
      data_in_use_(&data_),
      origin_in_use_(&origin_),
      directory_(world_) {
  std::mt19937_64 random(shape.seed + 2);
  for (const Run& run : shape.runs) {
    for (uint64_t i = 0; i < run.blocks; ++i) {
      const uint64_t origin = (run.thin + i).value() * shape.block_size;
      const uint64_t data = (run.data + i).value() * shape.block_size;
      if (origin >= shape.origin_size) continue;
      const uint64_t length = std::min(shape.block_size, shape.origin_size - origin);
      ranges_.push_back({planned_, origin, data, length});
      planned_ += length;
      for (uint64_t at = 0; at < length; at += kUnit) {
        if (random() % 100 >= shape.percent_equal) continue;
        std::memcpy(&first_origin_[origin + at], &first_data_[data + at],
                    std::min(kUnit, length - at));
      }
    }
  }
  origin_.overwrite(Bytes(0), first_origin_);
  directory_.put_file(kFile, FileBytes(64));
}

void CopyScene::put_before(BlockDevice* data, BlockDevice* origin) {
  if (data) data_in_use_ = data;
  if (origin) origin_in_use_ = origin;
}

FileBytes CopyScene::expected_up_to(uint64_t position) const {
  FileBytes bytes = first_origin_;
  for (const PlannedRange& range : ranges_) {
    if (range.position >= position) break;
    std::memcpy(&bytes[range.origin], &first_data_[range.data],
                std::min(range.length, position - range.position));
  }
  return bytes;
}

JournalProgress CopyScene::copy(const PipelineOptions& options, JournalProgress start,
                                std::stop_token stop) {
  ListedRuns runs(shape_.runs);
  ExtentSource extents(runs, limits_, start.position);
  progress_.total_bytes = planned_;
  return copy_extents({*data_in_use_, *origin_in_use_, extents, start}, options, *this, progress_,
                      std::move(stop));
}

std::optional<MessageId> CopyScene::try_copy(const PipelineOptions& options, JournalProgress start,
                                             std::stop_token stop) {
  return refusal([&] { copy(options, start, std::move(stop)); });
}

VerifyResult CopyScene::compare(const PipelineOptions& options, std::stop_token stop) {
  ListedRuns runs(shape_.runs);
  ExtentSource extents(runs, limits_);
  progress_.total_bytes = planned_;
  return compare_extents({*data_in_use_, *origin_in_use_, extents, {}}, options, progress_,
                         std::move(stop));
}

void CopyScene::record(const JournalProgress& progress) {
  records_.push_back(progress);
  if (on_record_) on_record_(progress);
  // The position, and a mark that it exists.
  const le64 words[] = {le64(progress.position.value()), le64(1)};
  const auto file = directory_.open(kFile, true);
  file->write(Bytes(0), std::as_bytes(std::span(words)));
  file->sync();
}

std::optional<uint64_t> CopyScene::recorded() const {
  le64 words[2];
  const FileBytes bytes = directory_.file(kFile);
  std::memcpy(words, bytes.data(), sizeof words);
  if (words[1].get() == 0) return std::nullopt;
  return words[0].get();
}

std::string CopyScene::untruth(const FileBytes& origin, uint64_t position) const {
  const FileBytes done = expected_up_to(position);
  const FileBytes all = expected();
  if (origin.size() != done.size()) return "the origin's size has changed";
  std::vector<bool> open_sectors(origin.size() / 512 + 1);  // planned, at or past the position
  for (const PlannedRange& range : ranges_) {
    const uint64_t claimed =
        std::clamp(position, range.position, range.position + range.length) - range.position;
    for (uint64_t at = claimed; at < range.length; at += 512) {
      open_sectors[(range.origin + at) / 512] = true;
    }
  }
  for (uint64_t at = 0; at < origin.size(); at += 512) {
    const size_t length = std::min<uint64_t>(512, origin.size() - at);
    if (std::memcmp(&origin[at], &done[at], length) == 0) continue;
    if (open_sectors[at / 512] && std::memcmp(&origin[at], &all[at], length) == 0) continue;
    return "byte " + std::to_string(at) + " of the origin is wrong at position " +
           std::to_string(position);
  }
  return {};
}

void CopyScene::watch_records() {
  world_.on_operation([this](const Operation& operation) {
    if (operation.kind != OperationKind::kFileWrite) return;
    const std::string wrong = untruth(origin_.durable_contents(), records_.back().position.value());
    if (!wrong.empty()) complaints_ += wrong + "\n";
  });
}

PipelineOptions small_pieces(CompareMode compare, unsigned threads) {
  PipelineOptions options;
  options.compare = compare;
  options.threads = threads;
  options.buffer_size = Bytes(128 << 10);
  options.io_size = Bytes(64 << 10);
  options.io_depth = 8;
  options.checkpoint_bytes = Bytes(256 << 10);
  options.checkpoint_time = std::chrono::hours(1);
  return options;
}

class DeviceInFront::Queue : public AsyncQueue {
 public:
  Queue(DeviceInFront& device, std::unique_ptr<AsyncQueue> behind)
      : device_(device), behind_(std::move(behind)) {}
  void submit(std::span<IoRequest> requests) override { behind_->submit(requests); }
  void wait() override {
    device_.before_wait();
    behind_->wait();
  }

 private:
  DeviceInFront& device_;
  std::unique_ptr<AsyncQueue> behind_;
};

std::unique_ptr<AsyncQueue> DeviceInFront::make_queue(unsigned depth) {
  return std::make_unique<Queue>(*this, behind_.make_queue(depth));
}

}  // namespace extmerge
